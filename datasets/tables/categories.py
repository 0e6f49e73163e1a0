"""Texts as numbers: the place of each among all texts in their order, or one number for each text."""

from __future__ import annotations

from typing import Any

import numpy as np

from assay.datasets.errors import DatasetError

__all__ = ["Encoder", "as_numbers"]

_MOST = 4_096  # different texts that become one number each


def as_numbers(texts: np.ndarray, how: str, where: object) -> tuple[np.ndarray, list[str]]:
    """Return texts as numbers, and what the numbers stand for.

    Parameters
    ----------
    texts : (N,) array of texts, numbers or booleans
    how : "code" or "one-hot"
        (N,) int64, or (N, K) float32 with one 1 in a row.
    where : object
        The source and the name in it, for messages.

    Returns
    -------
    numbers : array
    categories : list of str
        In their own order, which is that of the numbers.

    Examples
    --------
    >>> as_numbers(np.array(["red", "blue", "red"]), "code", "example")
    (array([1, 0, 1]), ['blue', 'red'])
    >>> as_numbers(np.array(["red", "blue", "red"]), "one-hot", "example")[0].tolist()
    [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    categories, codes = np.unique(texts, return_inverse=True)
    return spread(codes, [str(text) for text in categories], how, where)


def spread(codes: np.ndarray, categories: list[str], how: str, where: object) -> tuple[np.ndarray, list[str]]:
    """Return codes as they are, or as rows with one 1."""
    if how == "code":
        return codes.astype(np.int64), categories
    if len(categories) > _MOST:
        raise DatasetError(
            f"{where} has {len(categories):,} different values; one-hot has a number for each, up to {_MOST:,}: use code"
        )
    result = np.zeros((len(codes), len(categories)), np.float32)
    result[np.arange(len(codes)), codes] = 1.0
    return result, categories


class Encoder:
    """Turns the categories of a mapping into numbers and remembers what they stand for.

    Parameters
    ----------
    encodings : mapping of str to str
        Name in the source -> "code" or "one-hot".
    """

    def __init__(self, encodings: Any) -> None:
        self.encodings = dict(encodings)
        self.found: dict[str, list[str]] = {}
        self.widths: dict[str, int] = {}

    def __call__(self, name: str, array: np.ndarray, where: object) -> np.ndarray:
        """Return the numbers of a name, or the array itself where no encoding is said for it."""
        if name not in self.encodings:
            return array
        numbers, self.found[name] = as_numbers(array, self.encodings[name], where)
        return numbers

    def labels(self, name: str, width: int) -> list[str]:
        """Return what each number of a name is called: itself, `name[1]`, or `name=category`."""
        if self.encodings.get(name) == "one-hot" and len(self.found.get(name, ())) == width:
            return [f"{name}={category}" for category in self.found[name]]
        return [name] if width == 1 else [f"{name}[{number}]" for number in range(width)]
