"""The command line: `assay --help`. It prints; the library does not."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, UseAppendAction, arg
from tyro.extras import SubcommandApp

from assay.datasets.errors import AssayError, AssayWarning, ConfigError, DatasetError

if TYPE_CHECKING:
    import polars as pl

    from assay.baselines import Run, TrainingPlan, TrainingProgress
    from assay.baselines.behaviour.interaction import Checkpoint
    from assay.baselines.behaviour.random_search import Iterate
    from assay.datasets.collection.network_policy import NetworkPolicy
    from assay.datasets.collection.policies import LinearPolicy
    from assay.datasets.dataset import Dataset
    from assay.datasets.transform import Transform

__all__ = ["main"]

application = SubcommandApp()
datasets = SubcommandApp()
application.command(datasets, name="datasets", help="List, show, collect, download, convert and validate datasets.")

WIDTH_OF_FILES = 140  # columns, where the output is not a terminal
out = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES)
err = Console(stderr=True)

Name = Annotated[Positional[str], arg(metavar="NAME")]
Output = Annotated[Path, arg(aliases=["-o"])]
Precision = Literal["highest", "high", "medium", "bf16"]
Storage = Literal["float32", "float16", "bfloat16"]
Element = Literal["observations", "actions", "rewards", "dynamics", "states"]
SIMULTANEOUS: tuple[Element, ...] = ("observations", "actions", "rewards", "dynamics")  # the published order
SourceFormat = Annotated[str | None, arg(name="from")]
Options = Annotated[UseAppendAction[list[str]], arg(metavar="KEY=VALUE")]
Drop = Annotated[UseAppendAction[list[str]], arg(metavar="COLUMN")]
STEPS_OF_RANDOM_DATA = 20_000  # to draw beside a dataset
SECONDS_WITHOUT_PROGRESS = 2.0
Configuration = TypeVar("Configuration")
spoken: list[str] = []  # the arguments of the command at work
POLICY_SUFFIXES = (".json", ".safetensors")
SECONDS_BETWEEN_LINES = 10.0  # of progress, where there is no terminal to draw a bar on


# -------------------------------------------------------------------- datasets


@datasets.command(name="list")
def list_datasets(*, all: bool = False) -> None:
    """List the datasets that can be loaded by name.

    Example: assay datasets list

    Args:
        all: Also list local Minari datasets and downloaded ones of D4RL.
    """
    from assay.datasets.collection.catalog import catalog
    from assay.datasets.loading import cached_sizes
    from assay.datasets.remote import local_d4rl_ids, local_minari_ids

    table = Table("name", "environment", "description", "cached", title="Datasets by name")
    for name, entry in catalog().items():
        cached = ", ".join(f"{steps:,} steps" for steps in cached_sizes(name))
        table.add_row(name, entry.environment_id, entry.description, cached)
    out.print(table)
    if all:
        for identifier in (*local_minari_ids(), *local_d4rl_ids()):
            out.print(identifier)


@datasets.command
def formats() -> None:
    """List the file formats: what is read, what is written, and what each cannot hold.

    Example: assay datasets formats
    """
    from assay.datasets.formats import format_named, known_formats, writable_formats

    table = Table("name", "format", "on disk", "written", "cannot hold", title="Formats, in the order they are tried")
    for name in known_formats():
        module = format_named(name)
        written = "yes" if name in writable_formats() else "no"
        table.add_row(name, module.TITLE, module.LAYOUT, written, module.CANNOT_HOLD)
    out.print(table)


@datasets.command
def show(name: Name, *, source_format: SourceFormat = None, option: Options = []) -> None:  # noqa: B006
    """Show what a dataset holds: columns, spaces, origin, history.

    Example: assay datasets show hopper/medium

    Args:
        name: Catalog name, minari:<id>, d4rl:<id> or path.
        source_format: Read a path as this format instead of deciding from its content.
        option: For the format's reader, such as style=d4rl or columns='{"observations": "obs"}'; several times.
    """
    from assay.datasets.history import replay_obstacle

    dataset = load(name, source_format, option)
    table = Table("column", "dtype", "shape", title=dataset.info.id or name)
    for column in dataset.columns:
        array = dataset.column(column)
        table.add_row(column, str(array.dtype), " x ".join(f"{size:,}" for size in array.shape))
    out.print(table)
    facts = {
        "read as": format_of(name, source_format),
        "steps": f"{dataset.total_steps:,}",
        "episodes": f"{dataset.total_episodes:,}",
        "mean return": f"{dataset.returns.mean():.1f}",
        "environment": dataset.info.environment_id,
        "references": dataset.info.references.source if dataset.info.references else None,
        "description": dataset.info.description,
        "source": dataset.info.source,
        "licence": dataset.info.licence,
        "fingerprint": dataset.fingerprint,
    }
    for key, value in facts.items():
        if value:
            out.print(f"[bold]{key}[/] {value}", highlight=False)
    for record in dataset.history:
        out.print(f"[bold]history[/] {record.transform} {json.dumps(record.parameters)}", highlight=False)
    if dataset.history and (obstacle := replay_obstacle(dataset.history)):
        out.print(f"[bold]replay[/] {obstacle}", highlight=False)


@datasets.command
def collect(
    name: Name,
    *,
    steps: int = 100_000,
    seed: int = 0,
    noise: float | None = None,
    sampled: bool | None = None,
    environments: int = 16,
    workers: int | None = None,
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    overwrite: bool = False,
) -> None:
    """Collect a dataset from its simulator: a catalog name, or a policy file of `train-policy`.

    Example: assay datasets collect hopper/medium --steps 1000000

    Example: assay datasets collect actor.safetensors --noise 0.1 -o my-dataset

    Args:
        name: Catalog name, or the path of a policy file (.json or .safetensors).
        steps: Environment steps.
        seed: Of initial states and action noise.
        noise: Standard deviation of the Gaussian action noise, in half action ranges (discrete actions: the
            probability of a uniform one). Default: the catalog's, or 0.
        sampled: For a policy file of SAC: draw the actions (True), or take the mean's (False). Default: as the file says.
        environments: Simulators at a time; does not change the data.
        workers: Processes; default one per core.
        output: Folder to write; default is the cache under ASSAY_HOME, where `assay.load` finds it.
        overwrite: Replace what is there.
    """
    from assay.datasets.formats import writer_named
    from assay.datasets.loading import cached_path, collect_entry, collect_policy

    own = name.endswith(POLICY_SUFFIXES)
    if own and output is None:
        raise ConfigError("say where to write a dataset of an own policy: --output FOLDER")
    target = output or cached_path(name, steps=steps, seed=seed, noise=noise)
    if target.exists() and not overwrite:
        out.print(f"{target} exists already; nothing to do (--overwrite collects anew)", soft_wrap=True)
        return
    make: Callable[..., Dataset] = collect_policy if own else collect_entry
    if sampled is not None:
        if not own:
            raise ConfigError(
                f"{name} is of the catalog, which decides whether actions are sampled; leave --sampled out"
            )
        make = partial(make, sampled=sampled)
    with progress_bar(f"collecting {name}") as draw:
        dataset = make(
            name, steps=steps, seed=seed, noise=noise, environments=environments, workers=workers, progress=draw
        )
    writer_named("assay").write(dataset, target, overwrite=overwrite)
    out.print(
        f"{dataset.total_steps:,} steps in {dataset.total_episodes:,} episodes, mean return {dataset.returns.mean():.1f}"
    )
    out.print(f"written to {target}", soft_wrap=True)


@datasets.command(name="train-policy")
def train_policy(
    environment: Annotated[Positional[str], arg(metavar="ENVIRONMENT")],
    *,
    algorithm: Literal["ars", "sac", "dqn"] = "ars",
    set: Annotated[UseAppendAction[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    steps: int = 500_000,
    target_return: float | None = None,
    seed: int = 0,
    workers: int | None = None,
    replay: Path | None = None,
    checkpoints: Path | None = None,
) -> None:
    """Train a behaviour policy to collect data with.

    Example: assay datasets train-policy Hopper-v5 --steps 500000 -o hopper-policy.json

    Example: assay datasets train-policy HalfCheetah-v5 --algorithm sac --steps 100000 -o actor.safetensors

    Example: assay datasets train-policy CartPole-v1 --algorithm dqn --set discount=0.95 --steps 20000 --replay replay

    Args:
        environment: Gymnasium id.
        algorithm: Augmented random search of a linear policy (ars), soft actor-critic for continuous actions (sac), or
            deep Q-learning for discrete ones (dqn).
        set: Change a setting of the algorithm; may be given several times.
        output: File to write: the best policy found, with how it was trained. Default policy.json, or actor.safetensors.
        steps: Environment steps to spend.
        target_return: Stop when the mean evaluation return reaches it.
        seed: Of the training.
        workers: Processes of the random search; default one per core. The others train on one thread.
        replay: Folder for every step of the training, as a dataset (sac and dqn).
        checkpoints: Folder for every evaluated policy, written as the training goes on (sac and dqn).
    """
    from assay.datasets.collection.policy_file import write_policy_file

    best: Iterate | Checkpoint
    policy: LinearPolicy | NetworkPolicy
    if algorithm == "ars":
        if replay is not None or checkpoints is not None:
            raise ConfigError("a random search keeps no replay and no checkpoints; use --algorithm sac or dqn")
        output = output or Path("policy.json")
        best, policy, training = train_linear(environment, set, seed, steps, target_return, workers)
    else:
        output = output or Path("actor.safetensors")
        best, policy, training = train_network(
            environment, algorithm, set, seed, steps, target_return, replay, checkpoints
        )
    training |= {"command": shlex.join(["assay", *spoken]), "versions": policy_versions()}
    write_policy_file(output, environment, policy, training)
    out.print(f"best mean return {best.mean_return:.1f}, reached after {best.steps:,} steps")
    out.print(f"written to {output}; `assay datasets collect {output} -o FOLDER` collects from it", soft_wrap=True)


def train_linear(
    environment: str, changes: list[str], seed: int, steps: int, target_return: float | None, workers: int | None
) -> tuple[Iterate, LinearPolicy, dict[str, Any]]:
    """Train by random search; return the best iterate, its policy and how it was trained."""
    from assay.baselines.behaviour.random_search import SETTINGS, RandomSearchConfig, random_search

    config = configured(SETTINGS.get(environment, RandomSearchConfig()), changes)
    with progress_bar(f"training on {environment}") as draw:
        result = random_search(
            environment,
            config,
            seed=seed,
            steps=steps,
            target_return=target_return,
            workers=workers,
            progress=lambda iterate: draw(min(iterate.steps, steps), steps),
        )
    best = result.best
    training = {
        "method": "augmented random search",
        "settings": asdict(result.config),
        "seed": seed,
        "iteration": best.iteration,
        "steps": best.steps,
        "evaluation_returns": best.returns.tolist(),
    }
    return best, best.policy, training


def train_network(
    environment: str,
    algorithm: Literal["sac", "dqn"],
    changes: list[str],
    seed: int,
    steps: int,
    target_return: float | None,
    replay: Path | None,
    checkpoints: Path | None,
) -> tuple[Checkpoint, NetworkPolicy, dict[str, Any]]:
    """Train by SAC or DQN; return the best checkpoint, its policy and how it was trained."""
    from assay.baselines.behaviour.checkpoints import learning_curve, read_checkpoints, write_checkpoint
    from assay.baselines.behaviour.dqn import DQNConfig, train_dqn
    from assay.baselines.behaviour.sac import SACConfig, train_sac
    from assay.datasets.loading import save

    config = configured(SACConfig() if algorithm == "sac" else DQNConfig(), changes)
    settings = json.loads(json.dumps(asdict(config)))
    training: dict[str, Any] = {"algorithm": algorithm.upper(), "settings": settings, "seed": seed}
    if checkpoints is not None and checkpoints.exists():
        read_checkpoints(checkpoints, training)  # raises where they are of another run
    if replay is not None and replay.exists():
        raise ConfigError(f"{replay} exists already; choose another folder for the replay")
    title = f"training on {environment}"
    with progress_bar(title) as draw:

        def report(done: int, checkpoint: Checkpoint | None) -> None:
            draw(done, steps)
            if checkpoint is not None and checkpoints is not None:
                write_checkpoint(checkpoints, environment, checkpoint, training)

        options: dict[str, Any] = {"seed": seed, "steps": steps, "target_return": target_return, "progress": report}
        if isinstance(config, SACConfig):
            made = train_sac(environment, config, **options)
        else:
            made = train_dqn(environment, config, **options)
    if replay is not None:
        save(made.replay, replay)
        out.print(f"{made.replay.total_steps:,} steps of training written to {replay}", soft_wrap=True)
    best = made.best
    training |= {
        "steps": best.steps,
        "evaluation_returns": best.returns.tolist(),
        "learning_curve": learning_curve(made.checkpoints),
    }
    return best, best.policy, training


def configured(config: Configuration, changes: list[str]) -> Configuration:
    """Change fields of a configuration by FIELD=VALUE."""
    from pydantic import ValidationError

    from assay.datasets.errors import UnknownNameError
    from assay.datasets.registry import describe_validation_error

    values = dict(map(assignment, changes))
    known = [item.name for item in fields(cast(Any, config))]
    for name in values:
        if name not in known:
            raise UnknownNameError("setting", name, known)
    try:
        return cast(Configuration, replace(cast(Any, config), **values))
    except ValidationError as error:
        raise ConfigError(describe_validation_error("--set", error)) from error


def policy_versions() -> dict[str, str]:
    """Return the versions that decide what a training comes to."""
    from importlib.metadata import version

    import assay

    return {"assay": assay.__version__} | {name: version(name) for name in ("gymnasium", "mujoco", "numpy", "torch")}


@datasets.command
def download(name: Name) -> None:
    """Download a dataset, or continue an interrupted download; nothing is loaded over the network otherwise.

    Example: assay datasets download d4rl:hopper-medium-v2

    Args:
        name: d4rl:<id> (under ASSAY_HOME), or minari:<id> (by Minari itself, into its own folder).
    """
    from assay.datasets.remote import download_dataset

    with byte_bar(f"downloading {name}") as draw:
        target = download_dataset(name, progress=draw)
    out.print(f"{name} is at {target}", soft_wrap=True)


@datasets.command
def convert(
    name: Name,
    output: Annotated[Positional[Path], arg(metavar="OUTPUT")],
    *,
    format: str = "assay",
    overwrite: bool = False,
    source_format: SourceFormat = None,
    option: Options = [],  # noqa: B006
    write_option: Options = [],  # noqa: B006
    drop: Drop = [],  # noqa: B006
) -> None:
    """Convert a dataset to another format.

    Example: assay datasets convert hopper/medium ~/.minari/datasets/mine/hopper-v0 --format minari

    Example: assay datasets convert hopper/medium mine/hopper-v0 --format minari --write-option data_format=arrow

    Example: assay datasets convert logs.npz my-logs --from npz --option columns='{"observations": "obs"}'

    Args:
        name: Catalog name, minari:<id>, d4rl:<id> or path.
        output: Folder or file to write.
        format: "assay" keeps everything; `assay datasets formats` lists the others and what they cannot hold.
        overwrite: Replace what is there.
        source_format: Read a path as this format instead of deciding from its content.
        option: For the format's reader, such as style=d4rl or columns='{"observations": "obs"}'; several times.
        write_option: For the format's writer, such as data_format=arrow for Minari; several times.
        drop: A column to leave out because the format cannot hold it, such as weights or corrupted; several times.
    """
    from assay.datasets.loading import save

    dataset = load(name, source_format, option)
    save(dataset, output, format=format, overwrite=overwrite, drop=drop, **dict(map(parsed_option, write_option)))
    read_as = format_of(name, source_format)
    out.print(f"{dataset.total_steps:,} steps, read as {read_as}, written to {output} as {format}", soft_wrap=True)


@datasets.command(name="validate")
@application.command(name="validate")
def validate(
    name: Name,
    *,
    strict: bool = False,
    source_format: SourceFormat = None,
    option: Options = [],  # noqa: B006
) -> None:
    """Check a dataset: shapes, NaN, flags, bounds, continuity, duplicates.

    Example: assay validate path/to/dataset --strict

    Args:
        name: Catalog name, minari:<id>, d4rl:<id> or path.
        strict: Exit with status 1 on warnings too, not only on errors.
        source_format: Read a path as this format instead of deciding from its content.
        option: For the format's reader, such as style=d4rl or columns='{"observations": "obs"}'; several times.
    """
    report = load(name, source_format, option).validate()
    out.print(f"{name}, read as {format_of(name, source_format)}", highlight=False, soft_wrap=True, markup=False)
    out.print(str(report), highlight=False, soft_wrap=True, markup=False)
    if not report.ok or (strict and report.findings):
        raise SystemExit(1)


# -------------------------------------------------------------------- transforms and metrics


@application.command
def corrupt(
    name: Name,
    *,
    output: Output,
    element: Annotated[UseAppendAction[list[Element]], arg(aliases=["-e"])] = [],  # noqa: B006
    simultaneous: bool = False,
    mode: Literal["random", "adversarial", "fast_adversarial"] = "random",
    rate: float = 0.3,
    scale: float = 1.0,
    seed: int = 0,
    granularity: Literal["transition", "window", "trajectory"] | None = None,
    window: int | None = None,
    count: Literal["random", "exact"] | None = None,
    tag: str | None = None,
    mask: str | None = None,
    shared: str | None = None,
    clip: bool = False,
    distribution: Literal["uniform", "gaussian", "student_t", "salt_and_pepper", "replacement"] | None = None,
    unit: Literal["standard_deviation", "absolute"] | None = None,
    rewards: Literal["replaced", "added"] | None = None,
    victim: str = "edac",
    victim_steps: int | None = None,
    victim_set: Annotated[UseAppendAction[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    steps: int | None = None,
    step_size: float | None = None,
    aggregate: Literal["mean", "min"] | None = None,
    initialization: Literal["uniform", "published"] | None = None,
    device: str = "cpu",
    transform: str | None = None,
    parameters: Annotated[str, arg(metavar="JSON")] = "{}",
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
) -> None:
    """Corrupt a dataset, with the ground truth of what was touched.

    Example: assay corrupt hopper/medium-replay --element rewards --rate 0.3 -o hopper-noisy-rewards

    Example: assay corrupt hopper/medium-replay -e observations -e actions --granularity trajectory -o hopper-noisy

    Example: assay corrupt hopper/medium-replay --mode adversarial --victim edac -e observations -o hopper-attacked

    Example: assay corrupt hopper/medium-replay --transform corruption.random --parameters '{"element": "states"}' -o noisy

    Args:
        name: Catalog name, minari:<id> or path.
        output: Folder to write.
        element: What to corrupt; may be given several times, each with steps of its own (--shared: the same steps).
        simultaneous: Corrupt observations, actions, rewards and dynamics, in this order, as published for the mixed attack.
        mode: How; adversarial takes the published 100 steps of 0.01, fast_adversarial 25 of 0.08, which lower the
            victim's value at least as far in a quarter of the time.
        rate: Share of the steps to corrupt, 0 to 1.
        scale: Size of the noise, or half the width of the attack's box, in standard deviations of each dimension
            (random rewards: times 30, absolute; adversarial rewards: the factor of their reversal).
        seed: Of masks, noise and starts.
        granularity: Corrupt single steps (the default), windows or whole episodes.
        window: Steps of a window; default 10.
        count: Whether the number of corrupted steps is random, as by default, or exactly the share.
        tag: Only episodes with this tag.
        mask: Exactly the steps that this boolean column holds.
        shared: Any word; elements of one such word are corrupted in the same steps.
        clip: Keep corrupted actions inside the action space.
        distribution: Of random noise; default uniform, as published.
        unit: Of the scale of random noise; default standard deviations.
        rewards: Replace rewards at random, as published and by default, or add noise to them.
        victim: Of an attack: an algorithm (edac, iql, td3_bc, ...), which is trained on this dataset and kept, or a
            run folder.
        victim_steps: Updates of a victim's training; default 20,000, published 3 million.
        victim_set: A field of the victim's algorithm, such as hidden='[64, 64]'; may be given several times.
        steps: Gradient steps of an attack; default as the mode says.
        step_size: Of an attack's step, times the scale; default as the mode says.
        aggregate: Which value of the victim's critics an attack lowers; default their mean.
        initialization: Where an attack starts in its box, uniform by default; published has the published code's double
            scaling.
        device: That trains the victim and attacks: cpu, cuda, ...
        transform: Any other registered transform by name, with --parameters; then no other option has a part in it.
        parameters: Of --transform.
        format: "assay" keeps the masks.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it, such as corrupted; several times.
    """
    from assay.corruption.presets import MODES
    from assay.datasets.loading import save
    from assay.datasets.transform import make_transform

    check_free(output, overwrite)
    if transform is not None:
        if element or simultaneous:
            raise ConfigError("--transform says all there is to do: put the element into --parameters")
        corrupted = applied(make_transform(transform, json_mapping(parameters, "--parameters")), load(name))
    else:
        elements = [item for item in SIMULTANEOUS if simultaneous or item in element]
        elements += [item for item in element if item not in elements]
        if not elements:
            raise ConfigError("say what to corrupt: --element observations, actions, rewards, dynamics or states")
        chosen: dict[str, Any] = {
            "granularity": granularity,
            "window": window,
            "count": count,
            "tag": tag,
            "mask": mask,
            "shared": shared,
            "distribution": distribution,
            "unit": unit,
            "rewards": rewards,
            "steps": steps,
            "step_size": step_size,
            "aggregate": aggregate,
            "initialization": initialization,
        }
        kind, fixed = MODES.get(mode, (f"corruption.{mode}", {}))
        chosen = {**fixed, **{key: value for key, value in chosen.items() if value is not None}}
        chosen |= {"rate": rate, "scale": scale, "seed": seed}

        def options(item: str) -> dict[str, Any]:
            return {"element": item, **chosen, **({"clip": True} if clip and item == "actions" else {})}

        # All of them are made before anything is trained or written, so that a misspelt parameter costs nothing.
        for item in elements:
            make_transform(kind, options(item))
        if clip and "actions" not in elements:
            raise ConfigError("--clip keeps actions in their space, and none are corrupted")
        clean = load(name)
        attack: dict[str, Any] = {}
        if kind == "corruption.adversarial" and elements != ["rewards"]:
            attack = {"victim": victim_folder(victim, clean, victim_steps, victim_set, device), "device": device}
        corrupted = clean
        for item in elements:
            more = attack if item != "rewards" else {}
            corrupted = applied(make_transform(kind, {**options(item), **more}), corrupted)
    save(corrupted, output, format=format, overwrite=overwrite, drop=drop)
    for what, touched in corrupted.masks.items():
        out.print(f"{touched.sum():,} of {len(touched):,} {what} corrupted ({touched.mean():.1%})")
    out.print(f"{corrupted.total_steps:,} steps written to {output}", soft_wrap=True)


def victim_folder(victim: str, dataset: Any, steps: int | None, settings: Sequence[str], device: str) -> str:
    """Return the folder of a victim: the one that was named, or that of an algorithm which is trained if need be."""
    from assay.baselines import algorithm_named, algorithms, train_victim
    from assay.baselines.training.run_victim import VICTIM_STEPS

    if victim not in algorithms() and Path(victim).is_dir():
        if steps is not None or settings:
            raise ConfigError(f"{victim} is trained already; leave --victim-steps and --victim-set out")
        return victim
    algorithm = algorithm_named(victim, dict(assignment(text) for text in settings))
    with training_display() as (_, report_training):
        run = train_victim(algorithm, dataset, steps=steps or VICTIM_STEPS, device=device, progress=report_training)
    out.print(f"victim: {run.folder}", soft_wrap=True)
    return os.fspath(run)


def json_mapping(text: str, option: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{option} {text}: expected an object, such as '{{\"rate\": 0.1}}'")
    return found


@application.command
def apply(
    name: Name,
    transform: Annotated[Positional[str], arg(metavar="TRANSFORM")],
    fields: Annotated[Positional[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    *,
    output: Output,
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
) -> None:
    """Apply one transform to a dataset, by its name in recipes.

    Example: assay apply hopper/medium corruption.freeze rate=0.1 window=50 -o hopper-frozen

    Example: assay apply hopper-noisy corruption.repair.dynamics action=flag element=observations -o hopper-flagged

    Args:
        name: Catalog name, minari:<id> or path.
        transform: Such as corruption.truncate_episodes; a wrong name lists those that are near.
        fields: Its parameters; values are YAML.
        output: Folder to write.
        format: "assay" keeps masks and flags.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it, such as corrupted; several times.
    """
    from assay.datasets.loading import save
    from assay.datasets.transform import make_transform

    check_free(output, overwrite)
    made = make_transform(transform, dict(assignment(text, "") for text in fields))
    before = load(name)
    result = applied(made, before)
    save(result, output, format=format, overwrite=overwrite, drop=drop)
    out.print(
        f"{before.total_steps:,} steps in {before.total_episodes:,} episodes became {result.total_steps:,} in "
        f"{result.total_episodes:,}; written to {output}",
        soft_wrap=True,
    )
    print_detections(result)


def print_detections(dataset: Any) -> None:
    """Print the masks of a dataset, and how well flags agree with them."""
    from assay.corruption import detection

    for element, mask in dataset.masks.items():
        out.print(f"{mask.sum():,} {element} corrupted ({mask.mean():.1%})", highlight=False)
        if f"flagged/{element}" in dataset.columns:
            found = detection(dataset, element)
            out.print(
                f"flagged {found.flagged:,}: precision {found.precision:.3f}, recall {found.recall:.3f}, "
                f"average precision {found.average_precision:.3f}",
                highlight=False,
            )


@application.command
def metrics(
    names: Annotated[Positional[list[str]], arg(metavar="NAME")],
    *,
    reference: str | None = None,
    output: Annotated[Path | None, arg(aliases=["-o"])] = None,
    select: Annotated[UseAppendAction[list[str]], arg(aliases=["-s"])] = [],  # noqa: B006
    compare: bool = False,
    bins: int | None = None,
    definition: Literal["paper", "published code", "d4rl notebook"] = "paper",
) -> None:
    """Measure datasets: returns and their structure, trajectory quality, state-action coverage, and more.

    Example: assay metrics hopper/random hopper/medium --reference hopper/medium-replay --compare -o quality.parquet

    Args:
        names: Catalog names, minari:<id> or paths.
        reference: Dataset that SACo is relative to, such as the replay data.
        output: Also write a .parquet or .json file.
        select: Only this metric or group of metrics; may be given several times.
        compare: One table, with a row per metric and a column per dataset.
        bins: Edges per column of the grid that SACo counts on, by default the definition's (100, or 5); fewer where
            saturation is near 1.
        definition: Of SACo, where the paper, its code and its D4RL notebook disagree.
    """
    import polars as pl

    if output is not None and output.suffix not in (".parquet", ".json"):
        raise ConfigError(f"{output}: the suffix must be .parquet or .json")
    against = None if reference is None else load(reference)
    frames = []
    for name in names:
        frame = measure(name, load(name), against, select=select or None, bins=bins, definition=definition)
        if not compare:
            print_metrics(name, frame)
        frames.append(frame.select(pl.lit(name).alias("dataset"), pl.all()))
    if compare:
        print_comparison(names, frames)
    if output is not None:
        write_frame(pl.concat(frames), output)
        out.print(f"written to {output}", soft_wrap=True)


@application.command
def card(
    name: Name,
    *,
    output: Output = Path("card.html"),
    reference: str | None = None,
    random: str | None = None,
    bins: int | None = None,
    overwrite: bool = False,
    source_format: SourceFormat = None,
    option: Options = [],  # noqa: B006
) -> None:
    """Write a dataset card: one self-contained HTML page of facts, figures, metrics and findings.

    Example: assay card hopper/medium -o card.html

    Args:
        name: Catalog name, minari:<id>, d4rl:<id> or path.
        output: HTML file to write.
        reference: Dataset that SACo is relative to, such as the replay data.
        random: Data of random actions to draw beside it; by default the catalog's for the environment, if it has any
            ("none" draws none).
        bins: Edges per column of the grid that SACo counts on.
        overwrite: Replace what is there.
        source_format: Read a path as this format instead of deciding from its content.
        option: For the format's reader, such as style=d4rl or columns='{"observations": "obs"}'; several times.
    """
    from assay.analysis import write_card

    check_free(output, overwrite)
    dataset = load(name, source_format, option)
    table = measure_what_can_be(name, dataset, None if reference is None else load(reference), bins=bins)
    title = name if name == dataset.info.id or not dataset.info.id else f"{dataset.info.id} ({name})"
    beside = random_data(dataset, random)
    written = write_card(dataset, output, metrics=table, random=beside, name=title, overwrite=overwrite)
    out.print(f"card: {written.resolve()}", soft_wrap=True)


def random_data(dataset: Any, name: str | None) -> Any:
    """Load data of random actions: what the name says, or else what the catalog has for the dataset's environment."""
    import assay
    from assay.datasets.collection.catalog import catalog

    if name == "none":
        return None
    if name is not None:
        return load(name)
    environment = dataset.info.environment_id
    for known, entry in catalog().items():
        if entry.environment_id == environment and known.endswith("/random") and known != dataset.info.id:
            with progress_bar(f"collecting {known}") as report:
                return assay.load(known, steps=STEPS_OF_RANDOM_DATA, progress=report)
    return None


def measure(name: str, dataset: Any, reference: Any, **options: Any) -> pl.DataFrame:
    """Return the metrics of a dataset, with progress where that takes its time."""
    from assay.metrics import assess

    started = time.monotonic()
    with drawing() as draw:

        def report(done: int, total: int, following: str) -> None:
            if time.monotonic() - started > SECONDS_WITHOUT_PROGRESS:
                draw(f"measuring {name}" + (f", {following}" if following else ""), done, total)

        return assess(dataset, reference, progress=report, **options)


def measure_what_can_be(name: str, dataset: Any, reference: Any, **options: Any) -> pl.DataFrame:
    """Return the metrics of a dataset; of a damaged one those that it still has, with a warning about the others."""
    import polars as pl

    from assay.metrics.assess import metric_names

    try:
        return measure(name, dataset, reference, **options)
    except DatasetError:
        frames = []
        for group in metric_names(dataset):
            try:
                frames.append(measure(name, dataset, reference, select=[group], **options))
            except DatasetError as error:
                warnings.warn(f"no metrics of the group {group}: {error}", AssayWarning, stacklevel=2)
        return pl.concat(frames)


def print_comparison(names: Sequence[str], frames: Sequence[pl.DataFrame]) -> None:
    """Print the metrics of several datasets side by side."""
    values = [{row["metric"]: row for row in frame.iter_rows(named=True)} for frame in frames]
    table = Table("metric", *names, "unit", title="Metrics side by side")
    for metric in dict.fromkeys(metric for rows in values for metric in rows):
        cells = ["–" if metric not in rows else number(rows[metric]["value"]) for rows in values]
        unit = next(rows[metric]["unit"] for rows in values if metric in rows)
        table.add_row(metric, *cells, unit)
    for column in table.columns[1:-1]:
        column.justify = "right"
    out.print(table)


def print_metrics(name: str, frame: pl.DataFrame) -> None:
    """Print one dataset's metrics as a table."""
    table = Table("metric", "value", "95% interval", "unit", "source", title=name)
    for row in frame.iter_rows(named=True):
        between = row["interval"]
        interval = "" if between is None else f"{number(between['low'])} to {number(between['high'])}"
        table.add_row(row["metric"], number(row["value"]), interval, row["unit"], row["source"])
    out.print(table)


def write_frame(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame as Parquet or JSON, by the suffix, whole or not at all."""
    import io

    from assay.datasets.atomic import atomic_write

    content = io.BytesIO()
    if path.suffix == ".json":
        frame.write_json(content)
    else:
        frame.write_parquet(content)
    atomic_write(path, content.getvalue())


# -------------------------------------------------------------------- training


@application.command
def train(
    name: Name,
    *,
    algorithm: str = "td3_bc",
    set: Annotated[UseAppendAction[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    seeds: tuple[int, ...] = (0,),
    steps: int = 100_000,
    runs: Path = Path("runs"),
    device: str = "cpu",
    precision: Precision = "highest",
    storage: Storage = "float32",
    compile: bool = False,
    population: int | Literal["auto"] = "auto",
    evaluation: Literal["final", "sparse", "published"] = "final",
    episodes: int | None = None,
    evaluate_every: int | None = None,
    observation_noise: Annotated[UseAppendAction[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    workers: int | None = None,
    log: Annotated[UseAppendAction[list[str]], arg(metavar="LOGGER")] = [],  # noqa: B006
    ray: Annotated[str | None, arg(metavar="ADDRESS")] = None,
) -> None:
    """Train an algorithm on a dataset, all seeds together.

    Example: assay train hopper/medium-replay --algorithm iql --set expectile=0.9 --seeds 0 1 2 --steps 20000

    Example: assay train hopper/medium --observation-noise scale=0.1 --observation-noise attack=action_difference

    Args:
        name: Catalog name, minari:<id> or path.
        algorithm: One of bc, percent_bc, td3_bc, awac, iql, riql, cql, sac_n, edac, rebrac, dt.
        set: Change a field of the algorithm; may be given several times.
        seeds: Training seeds.
        steps: Updates of each seed.
        runs: Folder for the run folders; finished runs in it are not trained again.
        device: cpu, cuda, cuda:1, ...
        precision: Of matrix products; medium (bfloat16 operands) is nearly twice as fast on recent CPUs, bf16 keeps
            activations in bfloat16 too.
        storage: Of the data on the device.
        compile: Compile the updates (CUDA only); faster after a minute or so of compiling.
        population: Most seeds to train together; auto finds it by a short timing where there is much to train.
        evaluation: After the last update only, 10 times along the way, or 200 times as published; 10 episodes each.
        episodes: Episodes of each evaluation and seed, instead of 10; 0 trains without an environment.
        evaluate_every: Updates between evaluations on the way, instead of the preset's.
        observation_noise: Evaluate under noise on the observations: scale, distribution, attack, ... of ObservationNoise;
            may be given several times.
        workers: Simulator processes; default one per core, less one where there are more than two.
        log: Also log to tensorboard or wandb; may be given several times.
        ray: Train on this Ray cluster, such as auto or HOST:6379; its nodes must share the folder of the runs.
    """
    from pydantic import ValidationError

    from assay.baselines import Evaluation, Job, ObservationNoise, algorithm_named
    from assay.baselines import train as train_jobs
    from assay.baselines.training.logging import logger_named
    from assay.datasets.registry import describe_validation_error

    chosen = algorithm_named(algorithm, dict(map(assignment, set)))
    dataset = load(name)
    given = {"episodes": episodes, "every": evaluate_every}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if observation_noise:
        try:
            given_noise = dict(assignment(text, "--observation-noise ") for text in observation_noise)
            changes["observation_noise"] = ObservationNoise(**given_noise)
        except ValidationError as error:
            raise ConfigError(describe_validation_error("--observation-noise", error)) from error
    asked = None if episodes == 0 else replace(Evaluation.preset(evaluation, steps), **changes)
    with training_display() as (_, report_training):
        finished = train_jobs(
            [Job(chosen, dataset, seed) for seed in seeds],
            steps=steps,
            runs=runs,
            device=device,
            precision=precision,
            storage=storage,
            compile=compile,
            population=population,
            evaluation=asked,
            workers=workers,
            progress=report_training,
            loggers=[logger_named(item) for item in log],
            ray=ray,
        )
    print_runs(finished)


@application.command
def run(
    suite: Annotated[Positional[Path], arg(metavar="SUITE")],
    *,
    budget: str = "small",
    runs: Path | None = None,
    device: str = "cpu",
    precision: Precision | None = None,
    storage: Storage = "float32",
    compile: bool = False,
    population: int | Literal["auto"] = "auto",
    workers: int | None = None,
    log: Annotated[UseAppendAction[list[str]], arg(metavar="LOGGER")] = [],  # noqa: B006
    ray: Annotated[str | None, arg(metavar="ADDRESS")] = None,
    dry_run: bool = False,
) -> None:
    """Run a suite: variants x algorithms x seeds. Given again, it goes on where it stopped.

    Example: assay run suites/quickstart.yaml --budget small

    Example: assay run suites/quickstart.yaml --budget paper --device cuda --dry-run

    Args:
        suite: YAML file.
        budget: One of the suite's budgets, such as smoke, small or paper.
        runs: Folder for the results; default runs/SUITE-BUDGET.
        device: cpu, cuda, cuda:1, ...
        precision: Of matrix products; default as the budget says.
        storage: Of the data on the device.
        compile: Compile the updates (CUDA only); faster after a minute or so of compiling.
        population: Most jobs to train together; auto finds it by a short timing where there is much to train.
        workers: Simulator processes; default one per core, less one where there are more than two.
        log: Also log to tensorboard or wandb; may be given several times.
        ray: Train on this Ray cluster, such as auto or HOST:6379; its nodes must share the folder of the runs.
        dry_run: Only print jobs, populations, memory and an estimate of the time, from a short timing here.
    """
    from assay.baselines import Suite, plan_suite, run_suite
    from assay.baselines.training.logging import logger_named
    from assay.metrics import assess

    loaded = Suite.from_yaml(suite)
    root = loaded.folder(budget, runs)
    if dry_run:
        if ray is not None:
            raise ConfigError("--dry-run times this machine; leave --ray out")
        options: dict[str, Any] = {"precision": precision, "storage": storage, "population": population}
        print_plan(
            plan_suite(loaded, budget, runs=root, device=device, **options), ", ".join(loaded.sources_by_label.values())
        )
        return
    with training_display() as (draw, report_training):
        finished = run_suite(
            loaded,
            budget,
            runs=root,
            device=device,
            precision=precision,
            storage=storage,
            compile=compile,
            population=population,
            measure=assess,
            progress=report_training,
            collecting=lambda name, done, total: draw(f"collecting {name}", done, total),
            preparing=lambda variant, done, total: draw(f"preparing {variant}", done, total),
            workers=workers,
            loggers=[logger_named(item) for item in log],
            ray=ray,
            command=f"assay run {suite} --budget {budget}",
        )
    print_scores(root, finished)
    out.print(f"results in {root}; `assay report {root}` makes a page of them", soft_wrap=True)
    check_runs(finished)


@application.command
def report(runs: Annotated[Positional[Path], arg(metavar="RUNS")], *, output: Output = Path("report.html")) -> None:
    """Write a report of a suite's results: one self-contained HTML page.

    Example: assay report runs/quickstart-small -o report.html

    Args:
        runs: Folder of results.
        output: HTML file to write.
    """
    from assay.analysis import write_report

    print_scores(runs)
    written = write_report(runs, output)
    out.print(f"report: {written.resolve()}", soft_wrap=True)


@application.command
def evaluate(
    runs: Annotated[Positional[Path], arg(metavar="RUNS")],
    *,
    dataset: str,
    discount: float = 0.99,
    steps: int = 50_000,
    device: str = "cpu",
    precision: Precision = "highest",
    seed: int = 0,
) -> None:
    """Estimate what finished runs are worth from a dataset alone, without an environment: a ranking, not scores.

    Example: assay evaluate runs/mine --dataset hopper/medium-replay

    Args:
        runs: Folder of runs, or one run folder.
        dataset: Catalog name, minari:<id> or path; its rewards and the first states of its episodes are used.
        discount: Of the estimated values.
        steps: Updates of each run's critic (fitted Q evaluation).
        device: cpu, cuda, cuda:1, ...
        precision: Of matrix products; medium (bfloat16 operands) is nearly twice as fast on recent CPUs, bf16 keeps
            activations in bfloat16 too.
        seed: Of the critics' weights, the batches and the bootstrap.
    """
    from assay.analysis import load_runs
    from assay.baselines import Run, fitted_q_evaluation

    finished = load_runs(runs).filter(status="finished")["path"]
    if not len(finished):
        raise ConfigError(f"{runs} holds no finished run")
    data = load(dataset)
    with drawing() as draw:
        found = fitted_q_evaluation(
            [Run(path) for path in finished],
            data,
            discount=discount,
            steps=steps,
            device=device,
            precision=precision,
            seed=seed,
            progress=lambda done, total: draw("fitted Q evaluation", done, total),
        )
    title = f"Discounted value of the initial states ({discount:g}), from {dataset}"
    table = Table("algorithm", "variant", "seed", "method", "value", "95% interval", title=title)
    for row in found.sort("method", "estimate", descending=[False, True], nulls_last=True).iter_rows(named=True):
        value, interval = "diverged", ""
        if row["estimate"] is not None:
            value, interval = number(row["estimate"]), f"{number(row['low'])} to {number(row['high'])}"
        table.add_row(row["label"], row["variant"], str(row["seed"]), row["method"], value, interval)
    out.print(table)


def assignment(text: str, option: str = "--set ") -> tuple[str, Any]:
    """Read FIELD=VALUE; the value is YAML, so numbers, booleans and lists are written as usual."""
    import yaml

    field, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{option}{text}: expected FIELD=VALUE")
    try:
        return field, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"{option}{text}: {value!r} is not a value") from error


def print_runs(runs: list[Run]) -> None:
    """Print one line per run, and exit with status 1 if one failed."""
    noises = {str(item.observation_noise) for item in runs if item.observation_noise is not None}
    title = f"Evaluated under {', '.join(sorted(noises))}" if noises else None
    table = Table("run", "status", "mean return", "score", title=title)
    for item in runs:
        evaluated = item.status == "finished" and len(item.returns) > 0
        mean = number(float(item.returns.mean())) if evaluated else ""
        score = number(item.score) if evaluated else ""
        table.add_row(str(item.folder), item.status, mean, score)
    out.print(table)
    check_runs(runs)


def check_runs(runs: list[Run]) -> None:
    """List the runs that did not finish, and why, and raise if there are any."""
    failed = [item for item in runs if item.status != "finished"]
    if failed:
        table = Table("run", "status", "reason", title="Not finished")
        for item in failed:
            reason = (item.error or "").strip().splitlines() or [""]
            table.add_row(item.folder.name, item.status, tyro_safe(reason[-1]))
        out.print(table)
        raise AssayError(f"{len(failed)} of {len(runs)} runs did not finish")


def print_plan(plan: TrainingPlan, source: str) -> None:
    """Print what a suite would do."""
    jobs = Table("algorithm", "variant", "seeds", "status", title=f"{len(plan.jobs):,} jobs")
    seeds: dict[tuple[str, str, str], list[str]] = {}
    for job in plan.jobs:
        status = f"resumes at update {job.update:,}" if job.status == "resumes" else job.status
        seeds.setdefault((job.label, job.variant, status), []).append(str(job.seed))
    for (label, variant, status), together in seeds.items():
        jobs.add_row(label, variant, " ".join(together), status)
    out.print(jobs)
    columns = ("population", "members", "datasets", "shapes", "updates left", "weights, optimizer", "data", "time")
    populations = Table(*columns, title="Populations")
    for item in plan.populations:
        what = (item.label, str(item.members), str(item.datasets))
        if item.error is not None:
            populations.add_row(*what, f"would fail: {tyro_safe(item.error)}")
            continue
        peak = "" if item.peak_bytes is None else f" (peak {mebibytes(item.peak_bytes)})"
        populations.add_row(
            *what,
            f"{item.observation_size} -> {item.action_size}",
            f"{item.updates:,}",
            mebibytes(item.state_bytes) + peak,
            mebibytes(item.data_bytes),
            f"{timedelta(seconds=round(item.seconds))} at {item.members / item.seconds_per_update:,.0f} updates/s",
        )
    out.print(populations)
    if plan.collects is not None:
        out.print(
            f"{source} is not here yet: {plan.collects:,} steps would be collected first, and what is finished is"
        )
        out.print("not known before that; the populations were timed on a sample of it", highlight=False)
    total = timedelta(seconds=round(sum(item.seconds for item in plan.populations)))
    out.print(f"about {total} of training, as timed just now on this machine; evaluation is not included")


def mebibytes(size: int) -> str:
    """Write a size in memory for people."""
    return f"{size / 2**20:,.1f} MiB"


def print_scores(folder: Path, runs: list[Run] | None = None) -> None:
    """Print the final scores of a folder of runs, or of some of its runs where others lie beside them."""
    from assay.analysis import load_runs, score_table

    found = load_runs(folder)
    if runs is not None:
        found = found.filter(found["path"].is_in([os.fspath(item) for item in runs]))
    scores = score_table(found, rows=["label", "dataset"])
    several = scores.select("label", "variant").is_duplicated().any()  # datasets of one name, as of two suites
    columns = ("algorithm", *(["dataset"] if several else []), "variant", "seeds", "score", "95% interval", "data")
    table = Table(*columns, title=f"Final scores, {folder}")
    for row in scores.iter_rows(named=True):
        interval = "" if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
        behaviour = "" if row["behaviour"] is None else number(row["behaviour"])
        mean = "" if row["mean"] is None else number(row["mean"])
        names = [row["label"], *([row["dataset"]] if several else []), row["variant"]]
        table.add_row(*names, str(row["seeds"]), mean, interval, behaviour)
    out.print(table)


# -------------------------------------------------------------------- progress and errors


def load(name: str, source_format: str | None = None, options: Sequence[str] = ()) -> Any:
    """Load a dataset, with progress where it is collected first."""
    import assay
    from assay.datasets.collection.catalog import catalog

    read = dict(parsed_option(text) for text in options)
    if name not in catalog():
        return assay.load(name, format=source_format, **read)
    with progress_bar(f"collecting {name}") as report:
        return assay.load(name, format=source_format, progress=report, **read)


def parsed_option(text: str) -> tuple[str, Any]:
    """Split KEY=VALUE; a value that is JSON is read as such, any other is text."""
    key, equals, value = text.partition("=")
    if not (equals and key.isidentifier()):
        raise ConfigError(f"{text!r} is not of the form KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def check_free(output: Path, overwrite: bool) -> None:
    """Raise ConfigError, before any work is done, where something is in the place of the output."""
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists already; choose another path or pass --overwrite")


def applied(transform: Transform, dataset: Dataset) -> Dataset:
    """Apply a transform, with progress where it takes minutes."""
    element = getattr(transform, "element", None)
    with progress_bar(transform.name if element is None else f"{transform.name} of {element}") as report:
        return transform(dataset, progress=report)


def format_of(name: str, source_format: str | None) -> str:
    """Return the format that a name is read as."""
    from assay.datasets.collection.catalog import catalog
    from assay.datasets.formats import sniff

    if name in catalog():
        return "assay"
    scheme = name.partition(":")[0]
    return scheme if scheme in ("minari", "d4rl") else source_format or sniff(Path(name))


def number(value: float | None) -> str:
    """Write a number for people: four significant digits, integers whole."""
    if value is None:
        return ""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"


@contextmanager
def drawing() -> Iterator[Callable[[str, int, int], None]]:
    """Give a callable (title, done, total) that draws a bar, or prints a line now and then without a terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    last = time.monotonic()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=None, visible=False)

        def draw(title: str, done: int, total: int) -> None:
            nonlocal last
            bar.update(task, description=title, completed=done, total=total, visible=True)
            if not err.is_terminal and (time.monotonic() - last > SECONDS_BETWEEN_LINES or done >= total):
                last = time.monotonic()
                err.print(f"{title}: {done / max(total, 1):.0%}", highlight=False)

        yield draw


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a callable (done, total)."""
    with drawing() as draw:
        yield lambda done, total: draw(title, done, total)


@contextmanager
def byte_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Give a callable (bytes done, bytes in all or 0) that draws a bar, or prints a line now and then."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    if not err.is_terminal:
        last = time.monotonic()

        def report(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                err.print(f"{title}: {done / 1e6:,.0f} MB" + (f" of {total / 1e6:,.0f} MB" if total else ""))

        yield report
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


@contextmanager
def training_display() -> Iterator[tuple[Callable[[str, int, int], None], Callable[[TrainingProgress], None]]]:
    """Give what draws a bar, as `drawing` does, and what shows a training: live on a terminal, else as lines."""
    if not err.is_terminal:
        with drawing() as draw:
            yield draw, training_report(draw)
        return
    from rich.live import Live

    from assay.baselines.training.live_table import LiveTable

    table = LiveTable()
    with Live(table, console=err, transient=True):
        yield table.prepare, table.update


def training_report(draw: Callable[[str, int, int], None]) -> Callable[[TrainingProgress], None]:
    """Print the population at work, its speed and what is left."""

    def update(state: TrainingProgress) -> None:
        if state.ended:
            return
        if state.evaluated:
            draw(f"{state.title}, evaluating", round(100 * state.evaluated), 100)
        else:
            draw(f"{state.title}, {state.updates_per_second:,.0f} updates/s", state.update, state.steps)

    return update


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Exit status 0 on success, 1 on an error (one line on the standard error stream), 2 on misuse, 130 when interrupted.
    """
    # Threads that spin while they wait cost several times the speed on shared cores; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    spoken[:] = given
    warnings.showwarning = show_warning
    try:
        application.cli(
            prog="assay",
            description="What is an offline-RL dataset worth? Load, corrupt, measure, train, report. "
            "`--debug` after any command shows the traceback of an error.",
            args=[item for item in given if item != "--debug"],
        )
    except AssayError as error:
        if debug:
            raise
        err.print(f"[bold red]error:[/] {tyro_safe(str(error))}", soft_wrap=True, highlight=False)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        if debug:
            raise
        err.print("interrupted; the same command goes on where this one stopped")
        raise SystemExit(130) from None
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nothing is left to say
        raise SystemExit(1) from None


def tyro_safe(text: str) -> str:
    """Escape what rich would take for markup."""
    from rich.markup import escape

    return escape(text)


def show_warning(message: Warning | str, category: type[Warning], *where: Any, **options: Any) -> None:
    """Print Assay's warnings as one line, others as Python does."""
    if issubclass(category, AssayWarning):
        err.print(f"[bold yellow]warning:[/] {tyro_safe(str(message))}", soft_wrap=True, highlight=False)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, *where[:2]))


if __name__ == "__main__":
    main()
