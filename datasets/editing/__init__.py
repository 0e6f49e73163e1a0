"""Transforms that act on what checks found: trim, drop, cut, split, merge, rename. All are recorded and replayed."""
