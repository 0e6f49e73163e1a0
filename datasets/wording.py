"""Words of messages and pages: counted nouns."""

from __future__ import annotations

__all__ = ["count_of"]


def count_of(count: int, noun: str, plural: str = "") -> str:
    """Write a count and its noun.

    Parameters
    ----------
    count : int
    noun : str
        Of one.
    plural : str
        By default the noun and an s.

    Examples
    --------
    >>> count_of(1, "episode"), count_of(1200, "step"), count_of(0, "category", "categories")
    ('1 episode', '1,200 steps', '0 categories')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
