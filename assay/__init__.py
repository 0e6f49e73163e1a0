"""Assay finds out what an offline-RL dataset is worth.

Load any format exactly, spoil, enrich or reweight it in a controlled way, measure it, train the standard baselines on
it, and read the outcome as tables and figures.

Examples
--------
>>> import assay
>>> sorted(name for name in assay.__all__ if name.islower())
['advise', 'audit', 'concatenate', 'from_minari', 'load', 'replay', 'save', 'trial', 'value']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.moved import install

__version__ = "0.1.0"

__all__ = [
    "AssayError",
    "Dataset",
    "Recipe",
    "advise",
    "audit",
    "concatenate",
    "from_minari",
    "load",
    "replay",
    "save",
    "trial",
    "value",
]

if TYPE_CHECKING:
    from assay.advising import advise
    from assay.analysis.trials.trial import trial
    from assay.analysis.values.value import value
    from assay.auditing import audit
    from assay.datasets.dataset import Dataset, concatenate
    from assay.datasets.errors import AssayError
    from assay.datasets.history import replay
    from assay.datasets.loading import load, save
    from assay.datasets.minari_exchange import from_minari
    from assay.datasets.recipe import Recipe

_HOME_OF = {
    "AssayError": "assay.datasets.errors",
    "Dataset": "assay.datasets.dataset",
    "advise": "assay.advising",
    "audit": "assay.auditing",
    "concatenate": "assay.datasets.dataset",
    "from_minari": "assay.datasets.minari_exchange",
    "load": "assay.datasets.loading",
    "save": "assay.datasets.loading",
    "Recipe": "assay.datasets.recipe",
    "replay": "assay.datasets.history",
    "trial": "assay.analysis.trials.trial",
    "value": "assay.analysis.values.value",
}
_ROOMS = ("analysis", "augmentation", "baselines", "corruption", "datasets", "metrics", "relabeling", "reweighting")


install()


def __getattr__(name: str) -> Any:
    # Names are looked up when first used, so that importing assay stays fast and pulls in neither torch nor gymnasium.
    from importlib import import_module

    if name in _HOME_OF:
        from assay.datasets.arguments import name_wrong_arguments

        globals()[name] = getattr(import_module(_HOME_OF[name]), name)
        name_wrong_arguments(__name__, [name])
        return globals()[name]
    if name in _ROOMS:
        return import_module(f"assay.{name}")
    raise AttributeError(f"module 'assay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__"])
