"""Datasets from tables of people's own: frames, CSV, Parquet and JSON Lines, by a mapping of names."""
