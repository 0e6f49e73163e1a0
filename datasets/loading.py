"""Loading and saving: one door for catalog names, Minari ids and paths."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.collected import COLLECTED, checked_noise, policy_collection
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import AssayError, ConfigError, DatasetError, DatasetIntegrityError, UnknownNameError
from assay.datasets.formats import format_named, sniff, sniff_mapped, writer_named
from assay.datasets.info import SOURCE, DatasetInfo, Record, assay_version, reference_scores
from assay.datasets.progress import Auto, Progress, counted, reporting
from assay.datasets.recording import unrecorded
from assay.datasets.registry import check_count, check_seed
from assay.datasets.remote import d4rl_file, minari_folder
from assay.datasets.spaces import space_from_gymnasium
from assay.datasets.tables.column_mapping import as_mapping

if TYPE_CHECKING:
    from assay.datasets.collection.collect import CollectedEpisodes
    from assay.datasets.isolation import Limits

__all__ = ["cached_path", "cached_sizes", "check_options", "collect_entry", "collect_policy", "home", "load", "save"]

DEFAULT_STEPS = 100_000


def home() -> Path:
    """Return the folder for collected datasets: the environment variable ASSAY_HOME, or `~/.assay`."""
    return Path(os.environ.get("ASSAY_HOME") or Path.home() / ".assay")


def load(
    name: str | os.PathLike[str],
    *,
    format: str | None = None,
    progress: Progress | Auto | None = "auto",
    isolated: bool | Limits = False,
    **options: Any,
) -> Dataset:
    """Load a dataset.

    Parameters
    ----------
    name : str or path
        A catalog name (`"hopper/medium"`: collected from the simulator when first asked for, then cached under
        `home()`), a local Minari id (`"minari:D4RL/door/human-v2"`), a downloaded dataset of D4RL
        (`"d4rl:hopper-medium-v2"`), or a path. A catalog name wins over a relative path of the same letters; write
        `./hopper/medium` for the folder. Nothing is downloaded here: see `assay.datasets.remote.download_dataset`.
    format : str, optional
        Read a path as this format instead of sniffing its content.
    progress : callable, optional
        Called with (steps done, steps in all) while a catalog dataset is collected. By default a bar is shown where somebody
        looks, for files that take long as well; None is silent. See `assay.datasets.progress`.
    isolated : bool or Limits
        Read the file in a process of its own, for files from strangers: a library that crashes, hangs or takes all
        memory is then one error. `Limits(memory_gib=..., timeout_seconds=...)` of `assay.datasets.isolation` sets what it
        may take, by default 4 GiB and 300 seconds.
    **options
        For catalog names: `steps` (default 100,000), `seed` (0), `noise` (the catalog's). For paths: what the format's
        reader takes, such as `verify=False` for Assay's own; an unknown one is an UnknownNameError.

    Returns
    -------
    Dataset

    Raises
    ------
    UnknownNameError
        If nothing has this name; with the nearest names.
    FormatError, DatasetError
        If the file is in no known format, or its content is impossible; with the place.

    Examples
    --------
    >>> import assay
    >>> assay.load("pendulum/random", steps=400).total_steps
    400
    """
    text = os.fsdecode(name)
    with reporting(progress, f"loading {text}", counted(f"collecting {text}")) as report:
        if isolated:
            return _load_isolated(text, format, options, isolated)
        scheme, _, rest = text.partition(":")
        if text in ("minari:", "d4rl:"):
            example = {"minari:": "minari:D4RL/door/human-v2", "d4rl:": "d4rl:hopper-medium-v2"}[text]
            raise ConfigError(f"{text} is followed by nothing; name a dataset, such as {example}")
        if scheme == "minari" and rest:
            return _from_path(minari_folder(rest), "minari", text, options)
        if scheme == "d4rl" and rest:
            return _from_d4rl(rest, options)
        from assay.datasets.collection.catalog import find, is_collectable

        if is_collectable(text):
            return _from_catalog(text, report, options)
        path = _checked_path(text)
        with _naming_system_errors(path, "read"):
            if path.exists():
                return _from_path(path, format, text, options)
        if scheme != text and "/" not in scheme:
            raise UnknownNameError("dataset scheme", f"{scheme}:", ["d4rl:", "minari:"])
        if path.is_absolute() or text.startswith(".") or text.endswith("/") or path.suffix or "columns" in options:
            raise DatasetError(f"{text} does not exist")
        try:
            return _from_catalog(find(text).name, report, options)  # raises with the nearest names
        except UnknownNameError as error:
            error.args = (f"there is no file or folder {text!r}; {error}",)
            raise


def _load_isolated(name: str, format: str | None, options: dict[str, Any], isolated: bool | Limits) -> Dataset:
    from assay.datasets.collection.catalog import is_collectable
    from assay.datasets.isolation import Limits, load_isolated

    if is_collectable(name):
        raise ConfigError(f"{name} is made here, not read from a stranger's file; leave isolated out")
    return load_isolated(name, format, options, isolated if isinstance(isolated, Limits) else Limits())


def save(
    dataset: Dataset,
    path: str | os.PathLike[str],
    *,
    format: str = "assay",
    overwrite: bool = False,
    drop: Collection[str] = (),
    progress: Progress | Auto | None = "auto",
    **options: Any,
) -> None:
    """Save a dataset, whole or not at all.

    Parameters
    ----------
    dataset : Dataset
    path : str or path
        A folder or file to be created.
    format : str
        `"assay"` keeps everything; `assay datasets formats` lists what the others cannot hold. Where that changes what
        is learned (`next_observations`, `weights`, `costs`, `corrupted/...`, ...) nothing is written; other things,
        such as `infos/...`, are left out with a warning.
    overwrite : bool
        Replace what is there; the old content stays until the new one is complete.
    drop : collection of str
        Columns to leave out, of the steps or of the episodes table; a name stands for all below it, such as
        `"corrupted"`. `"rewards"` and `"terminations"` can be dropped only where the format has no place for them.
    progress : callable, optional
        Called with (done, total) of what is written. By default a bar appears after two seconds where somebody looks; None
        is silent. See `assay.datasets.progress`.
    **options
        What the format's writer takes, such as `data_format="arrow"` for Minari.

    Raises
    ------
    UnknownNameError
        If there is no such format, no such option of its writer, or no such column to drop.
    DatasetError
        If the path exists and `overwrite` is False, the path cannot be written, or the format cannot hold this dataset.

    Examples
    --------
    >>> import assay, tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp(), "mine")
    >>> dataset = assay.load("pendulum/random", steps=400)
    >>> assay.save(dataset, folder)
    >>> assay.load(folder) == dataset
    True

    Minari has no place for weights, so they have to be given up by name:

    >>> weighted = dataset.replace({"weights": np.ones(400)})
    >>> assay.save(weighted, folder.with_name("mine-v0"), format="minari", drop=["weights"])
    >>> assay.load(folder.with_name("mine-v0")).weights is None
    True
    """
    write = writer_named(format).write
    check_options(write, options, f"option of writing {format}")
    dataset, given_up = _without(dataset, drop)
    if given_up:
        if "drop" not in inspect.signature(write).parameters:
            raise ConfigError(f"{given_up[0]} cannot be dropped: {format} holds it, and every dataset has it")
        options["drop"] = given_up
    title = f"saving {os.fspath(path)!s}"
    with _naming_system_errors(path, "written"), reporting(progress, title, counted(title)) as report:
        if "progress" in inspect.signature(write).parameters:
            options["progress"] = report
        write(dataset, _checked_path(path), overwrite=overwrite, **options)


def _without(dataset: Dataset, drop: Collection[str]) -> tuple[Dataset, list[str]]:
    """Return the dataset without the columns named, and those of them that no dataset can be without."""
    if isinstance(drop, str):
        raise ConfigError(f"drop is {drop!r}; a list of columns belongs there: drop=[{drop!r}]")
    columns, of_episodes, given_up = set[str](), set[str](), []
    for name in drop:
        found = [column for column in dataset.columns if is_under(column, name)]
        in_table = [column for column in dataset.episode_columns if is_under(column, name)]
        if not found and not in_table:
            known = {column.split("/")[0] for column in (*dataset.columns, *dataset.episode_columns)}
            raise UnknownNameError("column to drop", name, known)
        if name in ("rewards", "terminations", "truncations"):
            given_up.append(name)
        elif name.split("/")[0] in ("observations", "actions") or name == "final_observation":
            raise ConfigError(f"{name} cannot be dropped: no dataset is without")
        else:
            columns.update(found)
            of_episodes.update(in_table)
    if columns or of_episodes:
        dataset = dataset.replace(dict.fromkeys(columns), episode_columns=dict.fromkeys(of_episodes))
    return dataset, given_up


@contextmanager
def _naming_system_errors(path: str | os.PathLike[str], done: str) -> Iterator[None]:
    """Turn what the operating system refuses into a DatasetError with the path: names too long, no room, no right."""
    try:
        yield
    except AssayError:
        raise
    except OSError as error:
        raise DatasetError(f"{os.fspath(path)!r} cannot be {done}: {error.strerror or error}") from error
    except UnicodeEncodeError as error:
        if not _is_utf8(path):
            raise DatasetError(f"{os.fspath(path)!r} cannot be {done} in this format: the path is not UTF-8") from error
        raise


def _is_utf8(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is UTF-8, which some libraries need; file systems take any bytes."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked_path(path: str | os.PathLike[str]) -> Path:
    """Return a path that the operating system can take.

    Raises
    ------
    DatasetError
        If it is empty, or holds characters that no file name may have.
    """
    text = os.fsdecode(path)
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise DatasetError(f"{text!r} is no path: {error.reason} at character {error.start}") from error
    if not text or "\0" in text:
        raise DatasetError(f"{text!r} is no path: it {'holds a zero character' if text else 'is empty'}")
    return Path(text)


def _from_path(path: Path, format: str | None, name: str, options: dict[str, Any]) -> Dataset:
    if format is None and "columns" in options:  # a mapping names what the content does not show
        format = sniff_mapped(path)
    format = format or sniff(path)
    read = format_named(format).read
    check_options(read, options, f"option of reading {format}")
    from assay.datasets.history import replay_obstacle

    with unrecorded():
        dataset = read(path, **options)
    if dataset.history and replay_obstacle(dataset.history) is None:
        return dataset
    # A dataset that was made in memory or changed by hand is rebuilt from this file: replay begins at the latest source.
    if options.get("columns") is not None:  # what a file of names says now, not the file
        options = {**options, "columns": as_mapping(options["columns"], path).to_plain()}
    parameters = {"name": name, "format": format, "options": options, "fingerprint": dataset.fingerprint}
    return dataset.replace(record=Record(SOURCE, parameters, version=assay_version()))


def check_options(function: Callable[..., Any], options: Mapping[str, Any], kind: str) -> None:
    """Raise UnknownNameError where a reader or writer has no such option."""
    parameters = inspect.signature(function).parameters.values()
    known = [
        item.name
        for item in parameters
        if item.kind is item.KEYWORD_ONLY and item.name not in ("overwrite", "drop", "progress")
    ]
    for name in options:
        if name not in known:
            raise UnknownNameError(kind, name, known)


def _from_d4rl(identifier: str, options: dict[str, Any]) -> Dataset:
    dataset = _from_path(
        d4rl_file(identifier, verify=bool(options.pop("verify", True))), "d4rl", f"d4rl:{identifier}", options
    )
    references = reference_scores(identifier)
    with unrecorded():  # the name d4rl:... stands for this info too
        return dataset.replace(info=replace(dataset.info, id=identifier, reference_scores=references))


def cached_path(name: str, *, steps: int = DEFAULT_STEPS, seed: int = 0, noise: float | None = None) -> Path:
    """Return where a catalog dataset with these options is, or will be, cached."""
    from assay.datasets.collection.catalog import find

    entry = find(name)
    steps, seed = check_count("steps", steps), check_seed(seed)
    noise_part = "" if noise is None else f"-noise-{checked_noise(noise):g}"
    return home() / "datasets" / name / f"{steps}-steps-seed-{seed}{noise_part}-{entry.digest[:8]}"


def cached_sizes(name: str) -> list[int]:
    """Return the sizes, in steps, at which a catalog dataset has been collected."""
    folders = (home() / "datasets" / name).glob("*-steps-seed-*")
    return sorted({int(folder.name.partition("-")[0]) for folder in folders if (folder / "metadata.json").exists()})


def _from_catalog(name: str, progress: Progress | None, options: dict[str, Any]) -> Dataset:
    if unknown := set(options) - {"steps", "seed", "noise", "verify"}:
        raise ConfigError(
            f"{name}: {sorted(unknown)[0]} is not an option of catalog datasets; known: noise, seed, steps"
        )
    verify = options.pop("verify", True)
    path = cached_path(name, **options)
    store = writer_named("assay")
    if not path.exists():
        dataset = collect_entry(name, progress=progress, **options)
        try:
            store.write(dataset, path)
        except DatasetError:
            if not path.exists():  # else somebody collected the same at the same time: equal by construction
                raise
    try:
        return store.read(path, verify=verify)
    except DatasetIntegrityError as error:
        raise DatasetIntegrityError(f"{error}. `assay datasets collect {name} --overwrite` makes it again") from error


def collect_entry(
    name: str,
    *,
    steps: int = DEFAULT_STEPS,
    seed: int = 0,
    noise: float | None = None,
    environments: int = 16,
    workers: int | None = None,
    progress: Progress | Auto | None = "auto",
) -> Dataset:
    """Collect a catalog dataset from its simulator, whether or not it is cached.

    Parameters
    ----------
    name : str
    steps, seed, noise
        As in `load`.
    environments, workers : int
        Simulators stepped at a time, and processes they run on; neither changes the data.
    progress : callable, optional
        As in `load`.
    """
    from assay.datasets.collection.catalog import find
    from assay.datasets.collection.collect import collect
    from assay.datasets.environments.specification import EVALUATION_SPEC, registered_spec

    entry = find(name)
    if noise is not None:
        entry = replace(entry, noise=checked_noise(noise))
    collected = collect(
        entry.environment_id,
        entry.policies(),
        steps=steps,
        noise=entry.noise,
        seed=seed,
        environments=environments,
        workers=workers,
        progress=progress,
        kwargs=entry.collected,
    )
    dataset = _assemble(
        collected,
        DatasetInfo(
            id=name,
            reference_scores=entry.reference_scores,
            description=entry.description,
            source=f"collected by Assay {assay_version()} from {entry.environment_id}",
            licence="Apache-2.0",
            extra={EVALUATION_SPEC: registered_spec(entry.environment_id)} if entry.collected else {},
        ),
        tagged=entry.tags,
    )
    options = {"steps": steps, "seed": seed} | ({} if noise is None else {"noise": noise})
    parameters = {"name": name, "options": options, "fingerprint": dataset.fingerprint}
    return dataset.replace(record=Record(SOURCE, parameters, seed, version=assay_version()))


def collect_policy(
    path: str | os.PathLike[str],
    *,
    steps: int = DEFAULT_STEPS,
    seed: int = 0,
    noise: float | None = None,
    sampled: bool | None = None,
    environments: int = 16,
    workers: int | None = None,
    progress: Progress | Auto | None = "auto",
) -> Dataset:
    """Collect from a policy file, as `assay datasets train-policy` writes it.

    Parameters
    ----------
    path : path
        A linear policy (.json) or a network (.safetensors).
    steps, seed
        As in `load`.
    noise : float, optional
        Action noise; default none.
    sampled : bool, optional
        Whether the actions of a tanh-Gaussian policy are drawn, or are those of its mean; default as the file says.
    environments, workers, progress
        As in `collect_entry`.

    Raises
    ------
    FormatError
        If the file holds no policy.
    ConfigError
        If another kind of policy is to be sampled.
    """
    from assay.datasets.collection.collect import collect
    from assay.datasets.collection.network_policy import NetworkPolicy
    from assay.datasets.collection.policies import described
    from assay.datasets.collection.policy_file import read_policy_file

    environment_id, policy = read_policy_file(Path(path))
    if sampled is not None:
        if not isinstance(policy, NetworkPolicy):
            raise ConfigError(f"{path} holds a linear policy; only a tanh_gaussian one can be sampled")
        policy = replace(policy, stochastic=sampled)
    asked = policy_collection(Path(path), steps=steps, seed=seed, noise=noise, sampled=sampled)
    collected = collect(
        environment_id,
        policy,
        steps=steps,
        noise=asked["noise"],
        seed=seed,
        environments=environments,
        workers=workers,
        progress=progress,
    )
    return _assemble(
        collected,
        DatasetInfo(
            id=Path(path).stem,
            description=f"{described(policy)} in {environment_id} with action noise {asked['noise']:g}.",
            source=f"collected by Assay {assay_version()} from {environment_id}",
            extra={COLLECTED: asked},
        ),
    )


def _assemble(collected: CollectedEpisodes, info: DatasetInfo, *, tagged: bool = False) -> Dataset:
    episode_columns: dict[str, np.ndarray] = {"seed": collected.episode_seeds, "policy": collected.episode_policies}
    if tagged:
        from assay.datasets.collection.schemes import proficiency_tags

        for tag, episodes in proficiency_tags(collected.episode_policies).items():
            episode_columns[f"tags/{tag}"] = np.isin(np.arange(len(collected.episode_lengths)), episodes)
    return Dataset(
        {
            **unpacked("observations", collected.observations),
            "actions": collected.actions,
            "rewards": collected.rewards,
            **({} if collected.costs is None else {"costs": collected.costs}),
            "terminations": collected.terminations,
            "truncations": collected.truncations,
        },
        collected.episode_lengths,
        info=replace(
            info,
            observation_space=space_from_gymnasium(collected.observation_space),
            action_space=space_from_gymnasium(collected.action_space),
            env_spec=collected.environment_spec,
        ),
        episode_columns=episode_columns,
    )


def unpacked(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """Return a column, or the nested columns that the fields of a structured array are.

    Examples
    --------
    >>> rows = np.zeros(3, [("goal", "f4", (2,)), ("here", [("x", "f8")])])
    >>> {key: column.shape for key, column in unpacked("observations", rows).items()}
    {'observations/goal': (3, 2), 'observations/here/x': (3,)}
    """
    if array.dtype.names is None:
        return {name: np.ascontiguousarray(array)}
    fields: dict[str, np.ndarray] = {}
    for field in array.dtype.names:
        fields |= unpacked(f"{name}/{field}", array[field])
    return fields
