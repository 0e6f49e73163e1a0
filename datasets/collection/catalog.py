"""Names of datasets that anyone can collect again: body/level, and the recipe behind each.

The policies lie beside this module in ``policies/<body>.json``, each with how it was trained and what it was measured
to earn (``python -m assay.baselines.online.train_policies`` makes them). A level whose aim no trained policy reached
is not in the catalog; asking for it says so.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeAlias, cast

from assay.datasets.collection.policies import LinearPolicy, Policy, UniformPolicy
from assay.datasets.errors import UnknownNameError
from assay.datasets.info import ReferenceScores, reference_scores

__all__ = ["CatalogEntry", "catalog", "find", "shipped_policies"]

BODIES = ("hopper", "halfcheetah", "walker2d", "pendulum", "pendulum-sparse", "cartpole")
MIXES = {"medium-expert": ("medium", "expert"), "medium-replay": ("medium",)}
"""Levels that each mix needs."""

RANDOM = "random"

Blocks: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class CatalogEntry:
    """The recipe of one dataset.

    Parameters
    ----------
    name
        ``"body/level"``.
    environment_id
        What is stepped.
    blocks
        (policy name, share of the steps), in order. A policy name is ``"random"``, a level of the body's file, or
        ``"iterate-<n>"``: the n-th of its iterates along the training.
    noise
        Action noise, as in `assay.datasets.collection.collect.collect`: one number, or one for each block.
    description
        One sentence for the dataset's information.
    reference_scores
        Returns that map to the scores 0 and 100.

    Examples
    --------
    >>> entry = find("cartpole/random")
    >>> entry.environment_id, entry.blocks, entry.policies()
    ('CartPole-v1', (('random', 1.0),), [(UniformPolicy(), 1.0)])
    """

    name: str
    environment_id: str
    blocks: Blocks
    noise: float | tuple[float, ...]
    description: str
    reference_scores: ReferenceScores

    @property
    def body(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]

    def policies(self) -> list[tuple[Policy, float]]:
        """Return (policy, share) for each block, as `collect` takes them."""
        return [(block_policy(self.body, policy), share) for policy, share in self.blocks]

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the recipe that decides the data: environment, policies, shares and noise."""
        policies = [
            ["random" if isinstance(policy, UniformPolicy) else cast(LinearPolicy, policy).to_dict(), share]
            for policy, share in self.policies()
        ]
        return hashlib.sha256(json.dumps([self.environment_id, self.noise, policies]).encode()).hexdigest()


def shipped_policies(body: str) -> Mapping[str, Any]:
    """Return the content of a body's file: levels, iterates, how they were trained and what they earn.

    Parameters
    ----------
    body
        ``"hopper"``, ``"halfcheetah"``, ``"walker2d"``, ``"pendulum"``, ``"pendulum-sparse"`` or ``"cartpole"``.

    Returns
    -------
    Mapping
        ``environment_id``, ``references``, ``versions``, ``levels`` (name -> ``noise``, ``training``, ``measured``,
        ``policy``), ``absent`` (level -> why) and ``iterates``.

    Raises
    ------
    UnknownNameError
        If there is no such body.

    Examples
    --------
    >>> shipped_policies("cartpole")["environment_id"]
    'CartPole-v1'
    """
    if body not in BODIES:
        raise UnknownNameError("body", body, BODIES)
    return read_policies(body)


@functools.cache
def read_policies(body: str) -> Mapping[str, Any]:
    """Read a body's file; the file is part of the package, so it is not checked again."""
    text = (files("assay.datasets.collection") / "policies" / f"{body}.json").read_text(encoding="utf-8")
    return cast(Mapping[str, Any], json.loads(text))


def block_policy(body: str, name: str) -> Policy:
    """Return the policy of that name in a body's file."""
    if name == RANDOM:
        return UniformPolicy()
    content = read_policies(body)
    if name.startswith("iterate-"):
        return LinearPolicy.from_dict(content["iterates"][int(name.removeprefix("iterate-"))]["policy"])
    return LinearPolicy.from_dict(content["levels"][name]["policy"])


@functools.cache
def entries() -> Mapping[str, CatalogEntry]:
    """Build the catalog from the shipped files."""
    return {entry.name: entry for body in BODIES for entry in body_entries(body)}


def body_entries(body: str) -> list[CatalogEntry]:
    """Return the entries of one body, in the order of what they earn."""
    content = read_policies(body)
    levels, iterates = content["levels"], content["iterates"]
    references = content["references"]
    environment_id = content["environment_id"]
    # D4RL's references name the environment that they are used on; the other bodies have references of their own.
    scores = reference_scores(environment_id) or ReferenceScores(
        references["random_return"], references["expert_return"], references["source"]
    )

    def entry(level: str, blocks: Blocks, noise: float | tuple[float, ...], description: str) -> CatalogEntry:
        return CatalogEntry(f"{body}/{level}", environment_id, blocks, noise, description, scores)

    made = [entry(RANDOM, ((RANDOM, 1.0),), 0.0, f"Uniform random actions in {environment_id}.")]
    for level in ("simple", "medium", "expert"):
        if level in levels:
            earned, noise = levels[level]["measured"], levels[level]["noise"]
            text = (
                f"A linear {level} policy in {environment_id} with action noise {noise:g}: "
                f"mean return {earned['mean_return']:.0f} over {earned['episodes']} episodes."
            )
            made.append(entry(level, ((level, 1.0),), noise, text))
    if "medium" in levels and iterates:
        blocks = tuple((f"iterate-{number}", 1 / len(iterates)) for number in range(len(iterates)))
        noise = iterates[0]["noise"]
        text = (
            f"{len(iterates)} linear policies along the training of the medium one in {environment_id}, an equal "
            f"share of the steps each, with action noise {noise:g}."
        )
        made.append(entry("medium-replay", blocks, noise, text))
    if "medium" in levels and "expert" in levels:
        text = f"Half the steps from the medium and half from the expert linear policy in {environment_id}."
        noises = (levels["medium"]["noise"], levels["expert"]["noise"])
        made.append(entry("medium-expert", (("medium", 0.5), ("expert", 0.5)), noises, text))
    return made


def catalog() -> dict[str, CatalogEntry]:
    """Return all entries by name.

    Examples
    --------
    >>> [name for name in catalog() if name.startswith("cartpole/")][:2]
    ['cartpole/random', 'cartpole/simple']
    """
    return dict(entries())


def find(name: str) -> CatalogEntry:
    """Return the entry of that name.

    Parameters
    ----------
    name
        ``"body/level"``.

    Raises
    ------
    UnknownNameError
        If there is none: with the nearest names, or with the reason where no policy reached the level.

    Examples
    --------
    >>> find("hopper/medium").environment_id
    'Hopper-v5'
    """
    known = entries()
    if name in known:
        return known[name]
    body, _, level = name.partition("/")
    hint = ""
    if body in BODIES:
        absent = read_policies(body)["absent"]
        reasons = [f"{needed}: {absent[needed]}" for needed in MIXES.get(level, (level,)) if needed in absent]
        if reasons:
            hint = f"({body} has no {'; no '.join(reasons)})"
    raise UnknownNameError("catalog dataset", name, known, hint)
