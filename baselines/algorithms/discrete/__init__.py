"""Discrete actions: one value per action."""
