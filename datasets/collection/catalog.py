"""Names of datasets that anyone can collect again: body/level, and the recipe behind each.

The policies lie beside this module in ``policies/<body>.json``, each with how it was trained and what it was measured
to earn (``python -m assay.baselines.behaviour.train_policies`` makes them). A level whose aim no trained policy reached
is not in the catalog; asking for it says so. Neural policies are files of their own, ``policies/<body>-<level>.safetensors``
(``python -m assay.baselines.behaviour.train_actors``), and tasks with a written or planned expert are in `scripted`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from typing import Any, TypeAlias, cast

from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policies import LinearPolicy, Policy, UniformPolicy, described
from assay.datasets.collection.policy_file import PolicyFile, open_policy_file
from assay.datasets.collection.schemes import MIXED_SHARES, NOISY_EPSILON
from assay.datasets.collection.scripted import SCRIPTED, ScriptedTask, measured_returns
from assay.datasets.environments.record import records
from assay.datasets.errors import UnknownNameError
from assay.datasets.info import ReferenceScores, reference_scores

__all__ = ["CatalogEntry", "catalog", "find", "is_collectable", "shipped_policies"]

BODIES = tuple(name for name, record in records().items() if record.trained)
"""Environments whose trained policies are shipped."""
MIXES = {"medium-expert": ("medium", "expert"), "medium-replay": ("medium",)}
"""Levels that each mix needs."""

REFERENCES = {
    "SAC": "Haarnoja et al. 2018, arXiv 1812.05905",
    "DQN": "Mnih et al. 2015; van Hasselt et al. 2016, arXiv 1509.06461",
}
SKILLS = ("simple", "medium", "expert")
"""Levels of a body, from the least; those that stand for robomimic's worse, okay and better operators."""

RANDOM, DETOUR = "random", "detour"
MIXTURES = (
    f"NAME/{RANDOM}-LEVEL-PERCENT, such as pendulum/{RANDOM}-expert-5, is random data with that percentage of the steps, 1 to 99, of one "
    "policy's level"
)
"""The names that `find` makes an entry of, and no list has."""

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
        Returns that map to the scores 0 and 100; None where no expert is known.
    tags
        Whether the episodes of the blocks are tagged ``worse``, ``okay`` and ``better``, in this order.
    collected
        Keyword arguments of ``gymnasium.make`` where episodes of data are not those of an evaluation.

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
    reference_scores: ReferenceScores | None
    tags: bool = False
    collected: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]

    def policies(self) -> list[tuple[Policy, float]]:
        """Return (policy, share) for each block, as `collect` takes them."""
        return [(block_policy(self.body, policy), share) for policy, share in self.blocks]

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the recipe that decides the data: environment, its arguments, policies, shares and noise."""
        policies = [
            ["random" if isinstance(policy, UniformPolicy) else cast(Any, policy).to_dict(), share]
            for policy, share in self.policies()
        ]
        recipe: list[Any] = [self.environment_id, self.noise, policies, *(["tags"] if self.tags else [])]
        recipe += [dict(self.collected)] if self.collected else []
        return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()


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


@functools.cache
def read_actors(body: str) -> Mapping[str, PolicyFile]:
    """Read the neural policies of a body: level -> policy file, in the order of their names."""
    found = {}
    for file in sorted((files("assay.datasets.collection") / "policies").iterdir(), key=lambda each: each.name):
        match = re.fullmatch(rf"{re.escape(body)}-((?:dqn|sac)-[a-z]+)\.safetensors", file.name)
        if match:
            with as_file(file) as path:
                found[match[1]] = open_policy_file(path)
    return found


def block_policy(body: str, name: str) -> Policy:
    """Return the policy of that name in a body's files."""
    if name == RANDOM:
        return UniformPolicy()
    if body in SCRIPTED:
        detour, expert = SCRIPTED[body].detour, SCRIPTED[body].expert
        if name == DETOUR:
            assert detour is not None
            return detour.make()
        assert expert is not None
        return expert()
    if name in read_actors(body):
        return read_actors(body)[name].policy
    content = read_policies(body)
    if name.startswith("iterate-"):
        return LinearPolicy.from_dict(content["iterates"][int(name.removeprefix("iterate-"))]["policy"])
    return LinearPolicy.from_dict(content["levels"][name]["policy"])


@functools.cache
def entries() -> Mapping[str, CatalogEntry]:
    """Build the catalog from the shipped files."""
    made = [entry for body in BODIES for entry in body_entries(body)]
    made += [entry for body in SCRIPTED for entry in scripted_entries(body)]
    return {entry.name: entry for entry in made}


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
    for level in SKILLS:
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
    if set(SKILLS) <= set(levels):
        text = (
            f"A third of the steps each from the simple, the medium and the expert linear policy in {environment_id}, "
            "their episodes tagged worse, okay and better as robomimic's filter keys."
        )
        blocks, noises = tuple((level, 1 / 3) for level in SKILLS), tuple(levels[level]["noise"] for level in SKILLS)
        made.append(replace(entry("proficiency", blocks, noises, text), tags=True))
    if "expert" in levels and levels["expert"]["policy"]["discrete"]:
        made += perspective_entries(made[0], "expert", "the linear expert", levels["expert"]["noise"])
    for level, file in read_actors(body).items():
        made += actor_entries(made[0], level, file)
    return made


def actor_entries(random: CatalogEntry, level: str, file: PolicyFile) -> list[CatalogEntry]:
    """Return the entries that a neural policy makes possible, given that of the same body's random data."""
    training, earned = file.training, file.training["measured"]
    policy = cast(NetworkPolicy, file.policy)
    name = {"SAC": "soft actor-critic", "DQN": "double deep Q-learning"}[training["algorithm"]]
    how = "actions sampled" if policy.stochastic else "greedy"
    text = (
        f"{described(policy)} in {random.environment_id} after {training['steps']:,} steps of {name} "
        f"({REFERENCES[training['algorithm']]}), {how}: mean return {earned['mean_return']:.0f} over "
        f"{earned['episodes']} episodes."
    )
    made = [replace(random, name=f"{random.body}/{level}", blocks=((level, 1.0),), description=text)]
    if policy.discrete and level.endswith("-expert"):
        prefix = level.removesuffix("expert")
        made += perspective_entries(random, level, f"the {level.replace('-', ' ').upper()} policy", 0.0, prefix)
    return made


def perspective_entries(
    random: CatalogEntry, expert: str, what: str, noise: float, prefix: str = ""
) -> list[CatalogEntry]:
    """Return the mixed and the noisy data of the Dataset Perspective paper (see `schemes`)."""
    place = f"in {random.environment_id} (Schweighofer et al. 2022, arXiv 2111.04714)."
    blocks = tuple(zip((RANDOM, expert), MIXED_SHARES))
    share = f"{MIXED_SHARES[0]:.0%} of the steps uniform random actions and {MIXED_SHARES[1]:.0%} from {what}"
    mixed = replace(
        random,
        name=f"{random.body}/{prefix}mixed",
        blocks=blocks,
        noise=(0.0, noise),
        description=f"{share[0].upper()}{share[1:]} {place}",
    )
    noisy = replace(
        random,
        name=f"{random.body}/{prefix}noisy",
        blocks=((expert, 1.0),),
        noise=NOISY_EPSILON,
        description=f"{what[0].upper()}{what[1:]} with a uniform action at a probability of {NOISY_EPSILON:g} {place}",
    )
    return [mixed, noisy]


def scripted_entries(body: str) -> list[CatalogEntry]:
    """Return the entries of a task with a written or planned expert, or with none."""
    task, measured = SCRIPTED[body], measured_returns()[body]
    environment_id, scores = task.environment_id, None
    if task.expert is not None:
        scores = ReferenceScores(
            measured["random"]["mean_return"],
            measured["expert"]["mean_return"],
            "measured here: mean return of uniform random actions and of the expert that data is collected with",
        )
    text = f"Uniform random actions in {environment_id}: mean return {measured['random']['mean_return']:.3g}."
    random = CatalogEntry(
        f"{body}/{RANDOM}", environment_id, ((RANDOM, 1.0),), 0.0, text, scores, collected=task.collected
    )
    if task.expert is None:
        return [random]
    earned = measured["expert"]
    text = (
        f"{task.described} in {environment_id} with action noise {task.noise:g}: mean return "
        f"{earned['mean_return']:.3g} over {earned['episodes']} episodes."
    )
    expert = replace(random, name=f"{body}/expert", blocks=(("expert", 1.0),), noise=task.noise, description=text)
    if task.detour is not None:
        return [random, expert, detour_entry(random, task)]
    return [random, expert, *(perspective_entries(random, "expert", "the expert", 0.0) if task.discrete else [])]


def detour_entry(random: CatalogEntry, task: ScriptedTask) -> CatalogEntry:
    """Return the entry of a task's suboptimal data, of which a few trajectories are an initial dataset for augmentation."""
    assert task.detour is not None
    share = task.detour.share
    text = (
        f"{task.detour.described} in {task.environment_id} with action noise {task.detour.noise:g} for {share:.0%} of the steps, and "
        f"the expert with action noise {task.noise:g} for the others."
    )
    blocks, noises = ((DETOUR, share), ("expert", 1 - share)), (task.detour.noise, task.noise)
    return replace(random, name=f"{random.body}/detours", blocks=blocks, noise=noises, description=text)


def mixture_entry(random: CatalogEntry, good: CatalogEntry, percent: int) -> CatalogEntry:
    """Return random data with so many percent of good steps (Hong et al. 2023, arXiv 2306.13085)."""
    level = good.name.partition("/")[2]
    ((policy, _),), share = good.blocks, percent / 100
    text = (
        f"{percent}% of the steps as in {good.name} and the others uniform random actions in {good.environment_id} "
        "(the mixtures of Hong et al. 2023, arXiv 2306.13085)."
    )
    assert isinstance(good.noise, float)
    return replace(
        random,
        name=f"{random.body}/{RANDOM}-{level}-{percent}",
        blocks=((policy, share), (RANDOM, 1 - share)),
        noise=(good.noise, 0.0),
        description=text,
        reference_scores=good.reference_scores,
    )


def catalog() -> dict[str, CatalogEntry]:
    """Return all entries by name; mixtures of random data with any other, which `find` makes, are not among them.

    Examples
    --------
    >>> [name for name in catalog() if name.startswith("cartpole/")][:2]
    ['cartpole/random', 'cartpole/simple']
    """
    return dict(entries())


def is_collectable(name: str) -> bool:
    """Tell whether a name has a recipe behind it, mixtures included.

    Examples
    --------
    >>> is_collectable("pendulum/random-expert-5"), is_collectable("pendulum/random-expert")
    (True, False)
    """
    try:
        find(name)
    except UnknownNameError:
        return False
    return True


def find(name: str) -> CatalogEntry:
    """Return the entry of that name.

    Parameters
    ----------
    name
        ``"body/level"``; ``"body/random-<level>-<percent>"`` is random data with so many percent of that level's steps.

    Raises
    ------
    UnknownNameError
        If there is none: with the nearest names, or with the reason where no policy reached the level.

    Examples
    --------
    >>> find("hopper/medium").environment_id
    'Hopper-v5'
    >>> find("pendulum/random-expert-5").blocks
    (('expert', 0.05), ('random', 0.95))
    """
    known = entries()
    if name in known:
        return known[name]
    body, _, level = name.partition("/")
    mixture = re.fullmatch(rf"{RANDOM}-(.+?)-(-?\d+(?:\.\d+)?)%?", level)
    if mixture and f"{body}/{mixture[1]}" in known and len(known[f"{body}/{mixture[1]}"].blocks) == 1:
        if re.fullmatch(r"[1-9]\d?", mixture[2]) and not level.endswith("%"):
            return mixture_entry(known[f"{body}/{RANDOM}"], known[f"{body}/{mixture[1]}"], int(mixture[2]))
        nearest = f"{body}/{RANDOM}-{mixture[1]}-{min(max(round(float(mixture[2])), 1), 99)}"
        raise UnknownNameError("catalog dataset", name, [nearest], "(the percentage is a whole number from 1 to 99)")
    hint = f"({MIXTURES})" if level.startswith(f"{RANDOM}-") else ""
    if body in BODIES:
        absent = read_policies(body)["absent"]
        reasons = [f"{needed}: {absent[needed]}" for needed in MIXES.get(level, (level,)) if needed in absent]
        if reasons:
            hint = f"({body} has no {'; no '.join(reasons)})"
    raise UnknownNameError("catalog dataset", name, known, hint, elsewhere="`assay datasets list` shows the names")
