"""Commands that measure a dataset: metrics and card."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.table import Table
from tyro.conf import Positional, UseAppendAction, arg

from assay.cli.application import Misuse, command
from assay.cli.console import drawing, number, out, progress_bar
from assay.cli.loading import check_free, load
from assay.cli.options import Name, OptionalOutput, Output, Settings, SourceFormat
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

__all__: list[str] = []

STEPS_OF_RANDOM_DATA = 20_000  # to draw beside a dataset
SECONDS_WITHOUT_PROGRESS = 2.0


@command("metrics")
def metrics(
    names: Annotated[Positional[list[str]], arg(metavar="NAME")],
    *,
    reference: str | None = None,
    output: OptionalOutput = None,
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

    if not names:
        raise Misuse("which dataset is to be measured?", "assay metrics NAME [NAME ...]")
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


@command("card")
def card(
    name: Name,
    *,
    output: Output = Path("card.html"),
    reference: str | None = None,
    random: str | None = None,
    bins: int | None = None,
    episodes: bool | None = None,
    overwrite: bool = False,
    source_format: SourceFormat = None,
    option: Settings = [],  # noqa: B006
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
        episodes: A row per episode with the checks of recorded robots; by default where time stamps or a rate are recorded.
        overwrite: Replace what is there.
        source_format: Read a path as this format instead of deciding from its content.
        option: For the format's reader, such as style=d4rl or columns='{"observations": "obs"}'; several times.
    """
    from assay.analysis import write_card
    from assay.metrics import assess

    check_free(output, overwrite)
    dataset = load(name, source_format, option)
    table = measure(name, dataset, None if reference is None else load(reference), bins=bins)
    title = name if name == dataset.info.id or not dataset.info.id else f"{dataset.info.id} ({name})"
    beside = random_data(dataset, random)
    rows = assess(dataset, per="episode") if (is_recorded(dataset) if episodes is None else episodes) else None
    written = write_card(dataset, output, metrics=table, episodes=rows, random=beside, name=title, overwrite=overwrite)
    out.print(f"card: {written.resolve()}", soft_wrap=True)


def is_recorded(dataset: Any) -> bool:
    """Tell whether a dataset was recorded against a clock, as those of robots are."""
    from assay.datasets.signals import declared_rate, time_stamps

    return time_stamps(dataset) is not None or declared_rate(dataset) is not None


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

        found: pl.DataFrame = assess(dataset, reference, progress=report, **options)
        return found


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
