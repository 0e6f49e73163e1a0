"""Trainers of behaviour policies: they interact with an environment, and what they make can be collected from."""
