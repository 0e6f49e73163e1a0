"""Learned dynamics: an ensemble of probabilistic networks, how unsure it is, and when an episode ends."""
