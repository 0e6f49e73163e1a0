"""A public function that is given something of a wrong kind says which argument it is, and of which kind it has to be."""

from __future__ import annotations

import importlib
import inspect
import pickle
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import assay
from assay.datasets import Dataset
from assay.datasets.arguments import naming_wrong_arguments
from assay.datasets.errors import ArgumentError, AssayError

ROOMS = [
    "assay",
    *(
        f"assay.{room}"
        for room in (
            "analysis",
            "augmentation",
            "baselines",
            "corruption",
            "datasets",
            "metrics",
            "relabeling",
            "reweighting",
        )
    ),
]
WRONG = {
    "a number": 3.5,
    "a text": "abc",
    "an empty array": np.zeros(0),
    "a ragged list": [[1, 2], [3]],
    "None": None,
    "NaN": float("nan"),
    "an empty list": [],
    "an empty mapping": {},
}


def public_functions() -> list[Any]:
    found = {}
    for room in ROOMS:
        module = importlib.import_module(room)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) and inspect.signature(value).parameters:
                found[f"{room}.{name}"] = value
    return [pytest.param(value, id=name) for name, value in found.items()]


@pytest.mark.parametrize("function", public_functions())
def test_a_public_function_names_the_argument_of_a_wrong_kind(function, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parameters = inspect.signature(function).parameters.values()
    needed = [
        item
        for item in parameters
        if item.default is item.empty and item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)
    ]
    names = {item.name for item in parameters}
    for value in WRONG.values() if needed else ():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function(
                    *(value for item in needed if item.kind is not item.KEYWORD_ONLY),
                    **{item.name: value for item in needed if item.kind is item.KEYWORD_ONLY},
                )
        except ArgumentError as error:
            told = str(error)
            assert told.startswith(f"{function.__name__}: ")
            assert told.split(": ")[1].split("=")[0] in names
        except AssayError:
            pass


def test_what_is_given_and_what_belongs_there_is_said():
    with pytest.raises(
        ArgumentError, match=r"^tq: dataset='hopper' is a str; a Dataset belongs there, such as assay.load\('hopper'\)$"
    ):
        assay.metrics.tq("hopper", None)
    with pytest.raises(
        ArgumentError, match=r"rows=.* is a list that is ragged or holds no numbers; an array of numbers belongs"
    ):
        assay.metrics.knn_entropy([[1.0], [1.0, 2.0]])
    with pytest.raises(
        ArgumentError, match=r"load_runs: paths=3.5 is a float; a text or a path or a list belongs there"
    ):
        assay.analysis.load_runs(3.5)
    with pytest.raises(ArgumentError, match=r"load: name=.* is a float; a text or a path belongs there"):
        assay.load(3.5)


def test_an_error_that_no_argument_is_to_blame_for_stays_what_it_is():
    def own(points: np.ndarray, more: Sequence[Dataset] = ()) -> None:
        raise ValueError("something of its own")

    with pytest.raises(ValueError, match="something of its own"):
        naming_wrong_arguments(own, "here")(np.ones(3))
    with pytest.raises(TypeError, match="missing 1 required"):
        naming_wrong_arguments(own, "here")()


def test_a_public_function_is_documented_and_pickled_as_before():
    for function in (assay.load, assay.metrics.tq, assay.baselines.train):
        assert function.__doc__
        assert pickle.loads(pickle.dumps(function)) is function


def test_what_may_be_anything_is_never_to_blame():
    def own(anything: Any, count: int) -> int:
        return count + 1

    with pytest.raises(ArgumentError, match="count='two' is a str; a whole number belongs there"):
        naming_wrong_arguments(own, "here")(3.5, "two")
