"""Diffusion models of vectors: how they are trained, and how they are sampled."""
