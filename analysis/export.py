r"""Tables for papers and programs: LaTeX and Markdown with the best in bold, CSV and Parquet with every number.

::

    latex, markdown     a row per variant, a column per algorithm: mean [low, high], the best mean of a row in bold
    csv, parquet        a row per algorithm and variant, from `score_table`: runs, seeds, episodes, mean, low, high, ...

Bold says which mean is the highest as shown, no more: where intervals overlap, nobody knows which is better. The caption says so, and
how many seeds and episodes are behind the table, which runs did not finish, and where costs are over a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import polars as pl

from assay.analysis.figures.variants import choose_metric, distinct_variants
from assay.analysis.tables import check_digits, counts_text, format_interval, score_table, statuses_text
from assay.datasets.errors import ConfigError, UnknownNameError
from assay.datasets.wording import count_of

__all__ = ["TextFormat", "format_table"]

TextFormat: TypeAlias = Literal["latex", "markdown", "csv"]
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "…": r"\ldots{}",
    "–": "--",
}


def format_table(
    runs: pl.DataFrame,
    format: TextFormat = "markdown",
    metric: str | None = None,
    columns: str = "label",
    *,
    digits: int | None = None,
    confidence: float = 0.95,
    reps: int = 2000,
    random_state: int = 0,
) -> str:
    """Write the final scores as the text of a table.

    Parameters
    ----------
    runs : polars.DataFrame
        From `load_runs`, filtered or not.
    format : {"latex", "markdown", "csv"}
        For Parquet, write what `score_table` returns: `score_table(runs, rows=["label"]).write_parquet(path)`.
    metric : str, optional
        `"score"`, `"return_mean"` or another number per run; default the score where there is one.
    columns : str
        What becomes the columns of LaTeX and Markdown: `"label"` or `"algorithm"`.
    digits : int, optional
        Decimals; default one, or none where means are above 1,000.
    confidence, reps, random_state
        As for `score_table`.

    Returns
    -------
    str
        LaTeX needs the package booktabs.

    Raises
    ------
    ConfigError
        If there is no run, or as for `score_table`.
    UnknownNameError
        If there is no such format.

    Examples
    --------
    >>> runs = pl.DataFrame({"label": ["BC", "BC", "IQL", "IQL"], "variant": "clean", "seed": [0, 1, 0, 1],
    ...                      "score": [40.0, 50.0, 60.0, 64.0], "episodes": 10})
    >>> print(format_table(runs))
    | variant | BC | IQL |
    |---|---|---|
    | clean | 45.0 [40.0, 50.0] | **62.0** [60.0, 64.0] |
    <BLANKLINE>
    Final score: mean over 2 seeds, 10 episodes each, with 95 % bootstrap intervals over the seeds. Bold: the highest mean of a row.
    """
    if format not in get_args(TextFormat):
        raise UnknownNameError("format of tables", format, get_args(TextFormat))
    if digits is not None:
        check_digits(digits)
    if runs.is_empty():
        raise ConfigError("there is no run to write")
    runs = distinct_variants(runs)
    chosen = metric if metric is not None else choose_metric(runs) if "return_mean" in runs.columns else "score"
    table = score_table(runs, chosen, [columns], confidence=confidence, reps=reps, random_state=random_state)
    if format == "csv":
        return table.write_csv()
    places = _digits(table) if digits is None else digits
    caption = (
        _caption(table, chosen, confidence)
        + _statuses(runs, scored=table["mean"].is_not_null().any())
        + _costs(runs, columns)
    )
    write = {"latex": _latex, "markdown": _markdown}[format]
    return write(*_cells(table, columns, places, _BOLD[format]), caption)


def _digits(table: pl.DataFrame) -> int:
    largest: Any = table["mean"].abs().max()
    return 0 if largest is not None and largest >= 1000 else 1


def _caption(table: pl.DataFrame, metric: str, confidence: float) -> str:
    what = {
        "score": "Final score",
        "return_mean": "Mean final return",
        "best_score": "Best score along the way (diagnostic)",
    }
    scored, told = table.filter(pl.col("mean").is_not_null()), what.get(metric, metric)
    if scored.is_empty():
        return f"{told}: no run has one."
    text = f"{told}: mean over {counts_text(scored['seeds'], scored['episodes'])}"
    if scored["low"].is_not_null().any():
        text += f", with {100 * confidence:g} % bootstrap intervals over the seeds"
    return f"{text}. Bold: the highest mean of a row."


def _statuses(runs: pl.DataFrame, *, scored: bool) -> str:
    """Say what became of the runs where not all finished; where none is scored, whether any was to be evaluated."""
    text = ""
    if "status" in runs.columns and (runs["status"] != "finished").any():
        text += f" {statuses_text(runs['status'])}"
    if not scored and "evaluation/episodes" not in runs.columns:
        text += " Runs that were trained without an environment have no evaluation."
    return text


def _costs(runs: pl.DataFrame, columns: str) -> str:
    """Say how many means stand for policies that cost too much, where the runs have a limit; bold does not look at costs."""
    if "normalized_cost" not in runs.columns or runs["normalized_cost"].is_null().all():
        return ""
    costs = runs.group_by("variant", columns).agg(pl.col("normalized_cost").mean()).drop_nulls()
    over = int((costs["normalized_cost"] > 1.0).sum())
    return f" Costs are not looked at: in {over} of {count_of(costs.height, 'cell')} the mean cost is over the limit."


def _cells(
    table: pl.DataFrame, columns: str, digits: int, bold: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows: a name and a cell for every column."""
    names = table[columns].unique(maintain_order=True).to_list()
    rows = []
    for group in table.partition_by("variant", maintain_order=True):
        cells = {row[columns]: row for row in group.iter_rows(named=True)}
        means = [round(row["mean"], digits) for row in cells.values() if row["mean"] is not None]
        best = max(means, default=None) if len(means) > 1 else None
        line = [str(group["variant"][0])]
        for name in names:
            row = cells.get(name) or {"mean": None, "low": None, "high": None}
            mean, _, interval = format_interval(row["mean"], row["low"], row["high"], digits).partition(" ")
            marked = (
                bold(mean)
                if best is not None and row["mean"] is not None and round(row["mean"], digits) == best
                else mean
            )
            line.append(f"{marked} {interval}".strip())
        rows.append(line)
    return ["variant", *map(str, names)], rows


_BOLD: dict[str, Callable[[str], str]] = {
    "latex": lambda text: f"\\textbf{{{text}}}",
    "markdown": lambda text: f"**{text}**",
}


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [[text.replace("|", "\\|") for text in header], ["---"] * len(header)]
    lines += [[row[0].replace("|", "\\|"), *row[1:]] for row in rows]
    written = [f"| {' | '.join(line)} |" for line in lines]
    written[1] = f"|{'|'.join(lines[1])}|"
    return "\n".join([*written, "", caption])


def _latex(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escaped(caption)}}}",
        rf"  \begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"    \toprule",
        f"    {' & '.join(map(_escaped, header))} \\\\",
        r"    \midrule",
        *(f"    {' & '.join([_escaped(row[0]), *map(_latex_cell, row[1:])])} \\\\" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _latex_cell(cell: str) -> str:
    mean, space, interval = cell.replace("–", "--").partition(" ")
    return f"{mean} {{\\scriptsize {interval}}}" if space else mean


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)
