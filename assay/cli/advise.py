"""The command that advises what to train on a dataset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from assay.cli.application import command
from assay.cli.console import drawing, out
from assay.cli.loading import check_free, load
from assay.cli.metrics import SECONDS_WITHOUT_PROGRESS
from assay.cli.options import OptionalOutput, Settings, SourceFormat

__all__: list[str] = []

NOTHING_NEAR = 3  # exit status


@command("advise")
def advise(
    dataset: Annotated[Positional[str], arg(metavar="DATASET")],
    *,
    output: OptionalOutput = None,
    reference: str | None = None,
    random_return: float | None = None,
    best_return: float | None = None,
    bins: int | None = None,
    radius: float = 0.25,
    evidence: Path | None = None,
    overwrite: bool = False,
    source_format: SourceFormat = None,
    option: Settings = [],  # noqa: B006
) -> None:
    """Say what to train on a dataset: what did well on measured datasets near it, and what the data itself shows.

    Exit status 0 with advice, and 3 where nothing measured is near.

    Example: assay advise cartpole/noisy -o advice.html

    Example: assay advise my-data --reference my-replay --random-return 20 --best-return 500

    Args:
        dataset: Catalog name, minari:<id>, d4rl:<id> or path.
        output: Also write the advice, with its evidence, as one HTML page.
        reference: Replay data of an online training in the same environment, which SACo is relative to; by default the catalog's.
        random_return: Mean return of uniform actions, which TQ is relative to.
        best_return: Mean return of the best online policy, which TQ is relative to.
        bins: Edges per column of the grid that SACo counts on.
        radius: Distance on the plane of TQ and SACo up to which a measured dataset counts as near.
        evidence: Parquet file in place of the runs that come with Assay (python -m assay.analysis.advice.make_evidence).
        overwrite: Replace what is there.
        source_format: Read a path as this format instead of deciding from its content.
        option: For the format's reader; several times.
    """
    import assay
    from assay.analysis.advice import load_evidence

    if output is not None:
        check_free(output, overwrite)
    known = load_evidence(evidence)
    data = load(dataset, source_format, option)
    against = None if reference is None else load(reference)
    started = time.monotonic()
    with drawing() as draw:

        def report(done: int, total: int, following: str) -> None:
            if time.monotonic() - started > SECONDS_WITHOUT_PROGRESS:
                draw(f"measuring {dataset}" + (f", {following}" if following else ""), done, total)

        advice = assay.advise(
            data,
            against,
            random_return=random_return,
            best_return=best_return,
            bins=bins,
            radius=radius,
            evidence=known,
            progress=report,
        )
    out.print(advice)
    if output is not None:
        written = advice.write(output, overwrite=overwrite)
        out.print(f"advice: {written.resolve()}", soft_wrap=True)
    if advice.refusal is not None:
        raise SystemExit(NOTHING_NEAR)
