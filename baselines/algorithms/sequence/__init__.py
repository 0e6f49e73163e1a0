"""Sequence models: policies that read the last steps of an episode."""
