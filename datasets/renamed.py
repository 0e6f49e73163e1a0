"""Former names of classes and functions: they give what is now called otherwise, and warn, for one release."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["former_names"]


def former_names(module: str, names: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module some of whose names have changed.

    Parameters
    ----------
    module : str
        `__name__` of the module.
    names : mapping of str to object
        Former name -> what it is now.

    Examples
    --------
    >>> look_up = former_names("example", {"Old": int})
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     look_up("Old"), str(caught[0].message)
    (<class 'int'>, 'example.Old is now called int')
    """

    def look_up(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        found = names[name]
        warnings.warn(f"{module}.{name} is now called {found.__name__}", DeprecationWarning, stacklevel=2)
        return found

    return look_up
