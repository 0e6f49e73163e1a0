"""Imitation: what is learned is what the data does."""
