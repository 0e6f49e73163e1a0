"""Write the tables and the figure of docs/theory.md.

Usage: assay run suites/theory.yaml --budget small
       assay run suites/theory-robustness.yaml --budget small
       assay run suites/theory-luck.yaml --budget small
       python docs/make_theory_table.py [RUNS ...]

With RUNS (runs/theory-small runs/theory-robustness-small runs/theory-luck-small) the results are read again into docs/theory.parquet, a row per
run and perturbation; the policies of the robustness suite are valued exactly under each. Without, the page is written from
that file alone. All intervals are 95 % percentile bootstrap over datasets.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.ticker import LogLocator, NullFormatter
from page_parts import replace_part

from assay.analysis.figures.layout import canvas
from assay.analysis.figures.style import FONT_POINTS, GRID, INK, MARKERS, MUTED, SERIES, SMALL_POINTS
from assay.datasets.environments.specification import EnvironmentSpec

HERE = Path(__file__).parent
TABLE, PAGE, FIGURE = HERE / "theory.parquet", HERE / "theory.md", HERE / "images" / "theory.png"
RESAMPLES = 2_000
PERTURBED = {  # source -> the argument of its environment, the values; the first is that of the data
    "linear": ("perturbation", (0.0, 0.25, 0.5, 0.75, 1.0)),
    "linear steep": ("perturbation", (0.0, 0.25, 0.5, 0.75, 1.0)),
    "put": ("up", (0.5, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 1.0)),
}
RATES = {  # source -> the slope that the papers prove for the method, which is the first algorithm of the source
    "near-expert contextual bandit": -1.0,
    "graded contextual bandit": -0.5,
    "near-expert table": -1.0,
    "graded table": -0.5,
    "graded linear": -0.5,
}


def main(folders: list[str]) -> None:
    """Write the table of results where runs are given, and the page."""
    if folders:
        pl.DataFrame(
            [row for folder in folders for row in results_of(Path(folder))], infer_schema_length=None
        ).write_parquet(TABLE)
    results = pl.read_parquet(TABLE)
    draw(results).savefig(FIGURE, dpi=144, facecolor="white")
    replace_part(PAGE, "pair", pair(results))
    replace_part(PAGE, "slopes", slopes(results))
    replace_part(PAGE, "robustness", robustness(results))
    replace_part(PAGE, "luck", luck(results))


# ---------------------------------------------------------------- runs -> table


def results_of(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a row per run and perturbation; "loss" is how much a policy earns less than the best."""
    from assay.analysis import load_runs
    from assay.baselines.evaluation.exact import chosen_actions, known_model
    from assay.baselines.runs.run import Run

    suite = json.loads((folder / "suite.json").read_text())["name"]
    for run in load_runs(folder).iter_rows(named=True):
        source, episodes, draw_ = re.fullmatch(r"(.+) (\d+) episodes, draw (\d+)", run["variant"]).groups()
        row = {
            "suite": suite,
            "source": source,
            "label": re.sub(r" \(\w+=.*\)$", "", run["label"]),
            "episodes": int(episodes),
            "draw": int(draw_),
        }
        if source in PERTURBED:
            argument, values = PERTURBED[source]
            models = [known_model(EnvironmentSpec(run["environment"], {argument: value})) for value in values]
            actions = chosen_actions(Run(run["path"]).actor(), models[0])
            for value, model in zip(values, models):
                yield {**row, "perturbation": value, "return": float(model.expected_return(actions)[0]), "loss": None}
        else:
            best = known_model(run["environment"]).best_return() if suite == "theory" else None  # type: ignore[attr-defined]
            loss = None if best is None else best - run["return_mean"]
            yield {**row, "perturbation": None, "return": run["return_mean"], "loss": loss}


# ---------------------------------------------------------------- statistics


def by_size(results: pl.DataFrame, source: str, label: str) -> dict[int, np.ndarray]:
    """Return the losses (draws,) of every size."""
    own = results.filter((pl.col("source") == source) & (pl.col("label") == label)).sort("episodes", "draw")
    return {int(size): rows["loss"].to_numpy() for (size,), rows in own.group_by("episodes", maintain_order=True)}


def interval(parts: list[np.ndarray], statistic: Callable[[list[np.ndarray]], float]) -> tuple[float, float, float]:
    """Return a statistic of samples and the ends of its interval; each sample is drawn again on its own."""
    rng = np.random.default_rng(0)
    drawn = [statistic([rng.choice(part, len(part)) for part in parts]) for _ in range(RESAMPLES)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return statistic(parts), float(low), float(high)


def slope(sizes: list[int]) -> Callable[[list[np.ndarray]], float]:
    """Return the statistic: the slope of log(mean loss) against log(size), of the sizes where any policy loses."""

    def statistic(parts: list[np.ndarray]) -> float:
        means = np.array([part.mean() for part in parts])
        lost = means > 1e-9
        return float(np.polyfit(np.log(sizes)[lost], np.log(means[lost]), 1)[0]) if lost.sum() > 1 else float("nan")

    return statistic


def said(found: tuple[float, float, float], digits: int = 2) -> str:
    """Write a value with its interval."""
    value, low, high = (round(number, digits) + 0.0 for number in found)
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def labels_of(results: pl.DataFrame, source: str) -> list[str]:
    """Return the algorithms of a source in the order of the suite."""
    return results.filter(pl.col("source") == source)["label"].unique(maintain_order=True).to_list()


# ---------------------------------------------------------------- tables


def pair(results: pl.DataFrame) -> str:
    """Return the losses of the two problems that no baseline solves both of, at the smallest and the largest size."""
    lines = ["| data | episodes | LCB | greedy | most played |", "|---|---|---|---|---|"]
    for source in ("near-expert bandit", "graded contextual bandit"):
        found = {label: by_size(results, source, label) for label in ("LCB", "greedy (bandit)", "most played")}
        sizes = list(found["LCB"])
        for size in (sizes[0], sizes[-1]):
            cells = [
                said(interval([losses[size]], lambda parts: float(parts[0].mean())), 4) for losses in found.values()
            ]
            lines.append(f"| {source} | {size:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def slopes(results: pl.DataFrame) -> str:
    """Return the slopes, and what they show of the papers' rates."""
    lines = ["| data | algorithm | slope | proven | |", "|---|---|---|---|---|"]
    for source, proven in RATES.items():
        for place, label in enumerate(labels_of(results, source)):
            losses = by_size(results, source, label)
            found = interval(list(losses.values()), slope(list(losses)))
            theirs = f"{proven:g}" if place == 0 else ""
            lines.append(f"| {source} | {label} | {said(found)} | {theirs} | {verdict(found)} |")
    return "\n".join(lines)


def verdict(found: tuple[float, float, float]) -> str:
    """Say on which side of -1/2 a slope is shown to be."""
    _, low, high = found
    return (
        "steeper than -1/2"
        if high < -0.5
        else "flatter than -1/2"
        if low > -0.5
        else "another slope than -1/2 is not shown"
    )


def robustness(results: pl.DataFrame) -> str:
    """Return the returns under the dynamics of the data and the worst ones, and what is lost and won against PEVI there."""
    lines = [
        "| data | algorithm | return as in the data | perturbed | minus PEVI, as in the data | minus PEVI, perturbed | |",
        "|---|---|---|---|---|---|---|",
    ]
    for source, (argument, values) in PERTURBED.items():
        own = results.filter((pl.col("source") == source) & (pl.col("suite") == "theory-robustness"))
        nominal, perturbed = values[0], 0.8 if argument == "up" else values[-1]
        table = {label: [of(own, label, value) for value in (nominal, perturbed)] for label in labels_of(own, source)}
        for label, (before, after) in table.items():
            differences = [
                interval([ours - theirs], lambda parts: float(parts[0].mean()))
                for ours, theirs in zip((before, after), table["PEVI"])
            ]
            cells = [said(interval([part], lambda parts: float(parts[0].mean()))) for part in (before, after)]
            cells += ["", ""] if label == "PEVI" else [said(item) for item in differences]
            word = "" if label == "PEVI" else price_and_gain(*differences)
            lines.append(f"| {source} | {label} | {' | '.join(cells)} | {word} |")
    return "\n".join(lines)


def price_and_gain(before: tuple[float, float, float], after: tuple[float, float, float]) -> str:
    """Say what the two differences from PEVI show."""
    words = [
        f"{'more' if low > 0 else 'less' if high < 0 else 'not shown'} {where}"
        for (_, low, high), where in ((before, "as in the data"), (after, "perturbed"))
    ]
    return ", ".join(words)


def of(own: pl.DataFrame, label: str, perturbation: float) -> np.ndarray:
    """Return the returns (draws,) of an algorithm under a perturbation."""
    chosen = own.filter((pl.col("label") == label) & ((pl.col("perturbation") - perturbation).abs() < 1e-9))
    return chosen.sort("draw")["return"].to_numpy()


def luck(results: pl.DataFrame) -> str:
    """Return what DoC and its changes earn, and what they earn more than return conditioning on the same datasets."""
    lines = ["| data | algorithm | return | minus RCSL | |", "|---|---|---|---|---|"]
    own = results.filter(pl.col("suite") == "theory-luck")
    for source in own["source"].unique(maintain_order=True):
        table = {
            label: own.filter((pl.col("source") == source) & (pl.col("label") == label))
            .sort("draw")["return"]
            .to_numpy()
            for label in labels_of(own, source)
        }
        for label, returns in table.items():
            mean = said(interval([returns], lambda parts: float(parts[0].mean())))
            found = interval([returns - table["RCSL"]], lambda parts: float(parts[0].mean()))
            word = "more" if found[1] > 0 else "less" if found[2] < 0 else "not shown"
            lines.append(
                f"| {source} | {label} | {mean} | " + (" | |" if label == "RCSL" else f"{said(found)} | {word} |")
            )
    return "\n".join(lines)


# ---------------------------------------------------------------- figure


def draw(results: pl.DataFrame) -> Any:
    """Return the figure: losses against size above, returns under perturbed dynamics below."""
    figure = canvas(1040, 640)
    grid = figure.add_gridspec(2, 15, left=0.06, right=0.985, top=0.94, bottom=0.09, hspace=0.5, wspace=6.0)
    for place, source in enumerate(RATES):
        axes = plain(figure.add_subplot(grid[0, 3 * place : 3 * place + 3]), source)
        for number, label in enumerate(labels_of(results, source)):
            losses = by_size(results, source, label)
            sizes, means = list(losses), [float(part.mean()) for part in losses.values()]
            axes.plot(sizes, means, color=SERIES[number], marker=MARKERS[number], markersize=4, label=label)
        axes.set(xscale="log", yscale="log", xlabel="episodes")
        for axis, subs in ((axes.xaxis, (1.0, 3.0)), (axes.yaxis, (1.0, 2.0, 5.0))):
            axis.set_major_locator(LogLocator(subs=subs))
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(NullFormatter())
        if place == 0:
            axes.set_ylabel("sub-optimality", color=MUTED, fontsize=SMALL_POINTS)
        axes.legend(fontsize=7, frameon=False, loc="lower left")
    shown = ("PEVI", "R2PVI (TV)", "R2PVI (KL)", "R2PVI (chi2)", "R2PVI (chi2, released)", "DRPVI", "DRVI-L")
    for place, (source, (argument, values)) in enumerate(PERTURBED.items()):
        axes = plain(figure.add_subplot(grid[1, 5 * place : 5 * place + 5]), source)
        own = results.filter((pl.col("source") == source) & (pl.col("suite") == "theory-robustness"))
        for number, label in enumerate(shown):
            if label not in labels_of(own, source):
                continue
            ordered = sorted(values)
            means = [float(of(own, label, value).mean()) for value in ordered]
            axes.plot(ordered, means, color=SERIES[number], marker=MARKERS[number], markersize=4, label=label)
        axes.set_xlabel(
            "share of good moves that fail" if argument == "perturbation" else "chance that the price goes up"
        )
        if place == 0:
            axes.set_ylabel("expected return", color=MUTED, fontsize=SMALL_POINTS)
            axes.legend(fontsize=7, frameon=False, loc="lower left")
    return figure


def plain(axes: Any, title: str) -> Any:
    """Give axes the look of the other figures."""
    axes.set_title(title, fontsize=FONT_POINTS, color=INK, loc="left")
    axes.tick_params(colors=MUTED, labelsize=7)
    axes.xaxis.label.set(color=MUTED, fontsize=SMALL_POINTS)
    axes.grid(color=GRID, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


if __name__ == "__main__":
    main(sys.argv[1:])
