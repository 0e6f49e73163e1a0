"""Rewards learned from preferences between segments of episodes."""
