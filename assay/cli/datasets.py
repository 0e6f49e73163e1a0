"""Commands about datasets: list, formats, show, collect, download, convert, validate."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from rich.markup import escape
from rich.table import Table
from tyro.conf import Positional, arg

from assay.cli.application import Misuse, command
from assay.cli.console import byte_bar, out, progress_bar
from assay.cli.loading import check_files, check_free, format_of, load
from assay.cli.options import Checks, Drop, Name, OptionalOutput, Settings, SourceFormat, settings
from assay.datasets.errors import ConfigError
from assay.datasets.wording import count_of

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__: list[str] = []

POLICY_SUFFIXES = (".json", ".safetensors")


@command("datasets", "list")
def list_datasets(*, all: bool = False) -> None:
    """List the datasets that can be loaded by name.

    Example: assay datasets list

    Args:
        all: Also list local Minari datasets and downloaded ones of D4RL.
    """
    from assay.datasets.collection.catalog import MIXTURES, catalog
    from assay.datasets.environments.record import family_of
    from assay.datasets.loading import cached_sizes
    from assay.datasets.remote import local_d4rl_ids, local_minari_ids

    table = Table("name", "environment", "extra", "description", "cached", title="Datasets by name")
    for name, entry in catalog().items():
        cached = ", ".join(f"{steps:,} steps" for steps in cached_sizes(name))
        family = family_of(entry.environment_id)
        table.add_row(name, entry.environment_id, family.extra if family else "", entry.description, cached)
    out.print(table)
    out.print(f"Also by name: {MIXTURES}.", highlight=False, soft_wrap=True)
    out.print(
        "An extra has to be installed for the environment: pip install 'assay[EXTRA]'.", highlight=False, markup=False
    )
    if all:
        for identifier in (*local_minari_ids(), *local_d4rl_ids()):
            out.print(identifier)


@command("datasets", "formats")
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


@command("datasets", "show")
def show(name: Name, *, source_format: SourceFormat = None, option: Settings = []) -> None:  # noqa: B006
    """Show what a dataset holds: columns, spaces, origin, history.

    Example: assay datasets show hopper/medium

    Args:
        name: Catalog name, minari:<id>, d4rl:<id> or path.
        source_format: Read a path as this format instead of deciding from its content.
        option: For the format's reader, such as style=d4rl or columns='{"observations": "obs"}'; several times.
    """
    from assay.datasets.dimensions import dimension_label
    from assay.datasets.history import replay_obstacle
    from assay.datasets.missing import describe_missing

    dataset = load(name, source_format, option)
    table = Table("column", "dtype", "shape", title=dataset.info.id or name)
    for column in dataset.columns:
        array = dataset.column(column)
        table.add_row(column, str(array.dtype), " x ".join(f"{size:,}" for size in array.shape))
    out.print(table)
    facts = {
        "read as": format_of(name, source_format, option),
        "steps": f"{dataset.total_steps:,}",
        "episodes": f"{dataset.total_episodes:,}",
        "missing": ", ".join(describe_missing(dataset)),
        "mean return": _mean_return(dataset),
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
    for column in {**dataset.info.names, **dataset.info.units}:
        if column in dataset.columns:
            width = len(dataset.info.names.get(column, ())) or len(dataset.info.units[column])
            names = ", ".join(dimension_label(dataset, column, number) for number in range(width))
            out.print(f"[bold]{column}[/] {escape(names)}", highlight=False)
    for record in dataset.history:
        out.print(f"[bold]history[/] {record.transform} {json.dumps(record.parameters)}", highlight=False)
    if dataset.history and (obstacle := replay_obstacle(dataset.history)):
        out.print(f"[bold]replay[/] {obstacle}", highlight=False)


@command("datasets", "map")
def map_columns(
    path: Annotated[Positional[Path], arg(metavar="PATH")],
    *,
    source_format: SourceFormat = None,
    option: Settings = [],  # noqa: B006
) -> None:
    """Propose a mapping of the columns of a table, archive or recording of your own, as YAML to be edited.

    Example: assay datasets map logs/ > columns.yaml

    Args:
        path: A file, or a folder of files.
        source_format: Look at the path as this format instead of deciding from its content.
        option: For the format's reader, such as decimal='","' for a CSV file; several times.
    """
    from assay.datasets.formats import format_named, sniff, sniff_mapped
    from assay.datasets.loading import check_options

    name = source_format or sniff_mapped(path) or sniff(path)
    propose = getattr(format_named(name), "propose", None)
    if propose is None:
        shown = f"assay datasets show {shlex.quote(str(path))}"
        raise ConfigError(f"{path} is {format_named(name).TITLE}, which needs no mapping: {shown}")
    options = settings(option, "--option")
    check_options(propose, options, f"option of mapping {name}")
    print(propose(path, **options))  # not by rich, which would wrap lines at the width of the screen


def _mean_return(dataset: Dataset) -> str | None:
    """Return the mean of the returns that are known, in words; None where none is."""
    from assay.datasets.missing import complete_episodes

    known = dataset.returns[complete_episodes(dataset, ("rewards",))]
    if not len(known):
        return None if dataset.total_episodes else "nan"
    of = "" if len(known) == dataset.total_episodes else f", of {len(known):,} episodes whose rewards are all there"
    return f"{known.mean():.1f}{of}"


@command("datasets", "collect")
def collect(
    name: Name,
    *,
    steps: int = 100_000,
    seed: int = 0,
    noise: float | None = None,
    sampled: bool | None = None,
    environments: int = 16,
    workers: int | None = None,
    output: OptionalOutput = None,
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
        overwrite: Replace what is there. Without it a dataset that was collected in just this way is left as it is, and
            anything else in its place is an error.
    """
    from assay.datasets.collected import catalog_collection, check_collected, policy_collection
    from assay.datasets.formats import writer_named
    from assay.datasets.loading import cached_path, collect_entry, collect_policy

    own = name.endswith(POLICY_SUFFIXES)
    make: Callable[..., Dataset]
    if own:
        if output is None:
            raise ConfigError("say where to write a dataset of an own policy: --output FOLDER")
        asked = policy_collection(Path(name), steps=steps, seed=seed, noise=noise, sampled=sampled)
        target, make = output, partial(collect_policy, sampled=sampled)
    else:
        if sampled is not None:
            raise ConfigError(
                f"{name} is of the catalog, which decides whether actions are sampled; leave --sampled out"
            )
        asked = catalog_collection(name, steps=steps, seed=seed, noise=noise)
        target, make = output or cached_path(name, steps=steps, seed=seed, noise=noise), collect_entry
    if target.exists() and not overwrite:
        check_collected(target, asked)
        out.print(f"{target} holds just this already; nothing to do (--overwrite collects anew)", soft_wrap=True)
        return
    check_free(target, overwrite)
    with progress_bar(f"collecting {name}") as draw:
        dataset = make(
            name, steps=steps, seed=seed, noise=noise, environments=environments, workers=workers, progress=draw
        )
    writer_named("assay").write(dataset, target, overwrite=overwrite)
    out.print(
        f"{count_of(dataset.total_steps, 'step')} in {count_of(dataset.total_episodes, 'episode')}, mean return {dataset.returns.mean():.1f}"
    )
    out.print(f"written to {target}", soft_wrap=True)


@command("datasets", "download")
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


@command("datasets", "convert")
def convert(
    name: Name,
    output: Annotated[Positional[Path], arg(metavar="OUTPUT")],
    *,
    format: str = "assay",
    overwrite: bool = False,
    source_format: SourceFormat = None,
    option: Settings = [],  # noqa: B006
    write_option: Settings = [],  # noqa: B006
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

    check_free(output, overwrite)
    dataset = load(name, source_format, option)
    save(dataset, output, format=format, overwrite=overwrite, drop=drop, **settings(write_option, "--write-option"))
    read_as = format_of(name, source_format, option)
    out.print(f"{dataset.total_steps:,} steps, read as {read_as}, written to {output} as {format}", soft_wrap=True)


@command("datasets", "validate")
@command("validate")
def validate(
    name: Name,
    *,
    strict: bool = False,
    profile: Literal["plain", "robot"] = "plain",
    fail_on_risks: bool = False,
    check: Checks = [],  # noqa: B006
    json: Path | None = None,
    junit: Path | None = None,
    source_format: SourceFormat = None,
    option: Settings = [],  # noqa: B006
) -> None:
    """Check a dataset: shapes, NaN, flags, bounds, continuity, duplicates; with --profile robot also clocks, sensors and motion.

    Exit status: 0 passed; 1 an error was found (--strict: or a warning; --fail-on-risks: or a risk), the dataset cannot be
    read, or a value of an option is impossible; 2 the command line was not understood.

    Example: assay validate path/to/dataset --strict

    Example: assay datasets validate recordings --profile robot --strict --json findings.json --junit findings.xml

    Example: assay validate recordings --profile robot --check limits='{"idle_tail": 0.1}' --fail-on-risks

    Args:
        name: Catalog name, minari:<id>, d4rl:<id> or path.
        strict: Exit with status 1 on warnings too, not only on errors.
        profile: robot adds the checks of recorded robots. What is wrong with the data is an error; what may make learning
            hard is a risk.
        fail_on_risks: Exit with status 1 on risks too.
        check: A setting of the profile, such as idle_speed=0.02, state=joints or limits='{"idle_tail": 0.1}'; several times.
        json: Also write the findings to this file, as JSON.
        junit: Also write the findings to this file, as JUnit XML with a test case per check.
        source_format: Read a path as this format instead of deciding from its content.
        option: For the format's reader, such as style=d4rl or columns='{"observations": "obs"}'; several times.
    """
    from assay.cli.reports import findings_as_json, findings_as_junit
    from assay.datasets.atomic import atomic_write

    changed = settings(check, "--check")
    if profile == "plain" and (changed or fail_on_risks):
        raise Misuse("--check and --fail-on-risks belong to a profile", "assay validate NAME --profile robot ...")
    check_files({"--json": json, "--junit": junit}, overwrite=True)
    dataset = load(name, source_format, option)
    if profile == "robot":
        from assay.metrics.robot import validate_robot

        report = validate_robot(dataset, changed)
    else:
        report = dataset.validate()
    failing = {"error", *(["warning"] if strict else []), *(["risk"] if fail_on_risks else [])}
    read_as = format_of(name, source_format, option)
    out.print(f"{name}, read as {read_as}", highlight=False, soft_wrap=True, markup=False)
    out.print(str(report), highlight=False, soft_wrap=True, markup=False)
    for file, write in ((json, findings_as_json), (junit, findings_as_junit)):
        if file is not None:
            atomic_write(file, write(name, report, failing))
            out.print(f"written to {file}", soft_wrap=True)
    if any(finding.severity in failing for finding in report.findings):
        raise SystemExit(1)
