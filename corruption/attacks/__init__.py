"""Attacks: the descent of a victim's value, its gradients, and what a victim is."""
