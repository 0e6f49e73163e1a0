"""Algorithms that learn a model of the dynamics first, and then a policy on its rollouts."""
