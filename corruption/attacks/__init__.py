"""Attacks: what a victim is, the gradients of its value, and the descent along them."""
