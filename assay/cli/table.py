"""The command that writes tables for papers: table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from assay.cli.application import Misuse, command, refuse_options
from assay.cli.console import err, out
from assay.cli.loading import check_files
from assay.cli.options import OptionalOutput
from assay.datasets.atomic import atomic_write
from assay.datasets.errors import ConfigError

__all__: list[str] = []


@command("table")
def table(
    folders: Annotated[Positional[list[str]], arg(metavar="RUNS")],
    *,
    format: Literal["latex", "markdown", "csv", "parquet"] = "markdown",
    metric: str | None = None,
    digits: int | None = None,
    output: OptionalOutput = None,
    bibtex: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write the final scores of runs as a table: for a paper with the best in bold, or every number for a program.

    Example: assay table runs/quickstart-small --format latex -o scores.tex --bibtex references.bib

    Args:
        folders: Folders of runs.
        format: LaTeX and Markdown have a row per variant and a column per algorithm; CSV and Parquet a row for both.
        metric: score, return_mean or another number per run; default the score where there is one.
        digits: Decimals.
        output: File to write; otherwise the table is printed.
        bibtex: Also write the BibTeX entries of the algorithms, transforms, datasets and statistics used.
        overwrite: Replace files that exist.
    """
    from assay.analysis import load_runs, score_table
    from assay.analysis.bibliography import bibliography, uncited
    from assay.analysis.export import format_table
    from assay.analysis.figures import choose_metric, distinct_variants
    from assay.analysis.tables import statuses_text

    if not folders:
        raise Misuse("which runs are to be written?", "assay table RUNS [RUNS ...]")
    if format == "parquet" and output is None:
        raise ConfigError("Parquet is not text; name the file to write, -o scores.parquet")
    if format in ("csv", "parquet"):
        refuse_options(["--digits"], f"{format} holds every digit", "assay table RUNS --format latex --digits 2")
    check_files({"--output": output, "--bibtex": bibtex}, overwrite)
    found = load_runs([*folders])
    if format == "parquet" and output is not None:
        from io import BytesIO

        content = BytesIO()
        told_apart = distinct_variants(found)
        score_table(told_apart, metric or choose_metric(told_apart), ["label"]).write_parquet(content)
        atomic_write(output, content.getvalue())
    else:
        text = format_table(found, format, metric, digits=digits)  # type: ignore[arg-type]
        if output is None:
            out.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            atomic_write(output, text.rstrip("\n") + "\n")
    said = output is None and format != "csv"  # by the table itself
    if not said and (found["status"] != "finished").any():
        err.print(statuses_text(found["status"]), markup=False, highlight=False, soft_wrap=True)
    if bibtex is not None:
        atomic_write(bibtex, bibliography(found))
        if missing := uncited(found):
            err.print(f"no entry for {', '.join(missing)}", markup=False, highlight=False, soft_wrap=True)
