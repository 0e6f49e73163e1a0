"""Assay: what is an offline-RL dataset worth?"""

__version__ = "0.1.0"
