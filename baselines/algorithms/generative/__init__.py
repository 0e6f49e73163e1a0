"""Generative policies: flows and diffusion models of the data's actions."""
