"""One row per episode on a card: what checks found, the scores, the speed over time, and camera frames where there are any.

The table is sorted by the style sheet alone, so the page needs no script. Each row carries its rank in every column; two radio
buttons in the heading of a column choose which rank orders the rows of the grid.
"""

from __future__ import annotations

import base64
import io
from typing import Any, Protocol

import numpy as np
import polars as pl

from assay.analysis.figures import number_text
from assay.analysis.figures.dataset_view import is_image
from assay.analysis.page import escape
from assay.datasets.dataset import Dataset, is_under
from assay.datasets.errors import DatasetError
from assay.datasets.signals import Signals

__all__ = ["EpisodeScores", "episode_rows"]

_MOST_ROWS, _MOST_FRAMES = 200, 60
_WIDTH, _HEIGHT, _POINTS = 160, 30, 80  # of a drawing of the speed, in pixels, and its points
_FRAME_PIXELS = 56
_FIRST = ("length", "defects", "risks")
_LEFT_OUT = ("episode", "duration", "length_outlier", "idle", "unchanging")


class EpisodeScores(Protocol):
    """What `assay.metrics.assess(dataset, per="episode")` returns."""

    def wide(self) -> pl.DataFrame:
        """Return one row per episode."""
        ...

    def filter(self, *predicates: str) -> pl.DataFrame:
        """Return the rows of a tidy table: episode, metric, dimension, value, kind, flagged."""
        ...

    @property
    def correlations(self) -> pl.DataFrame:
        """Return the correlation of each metric with the length of the episodes."""
        ...


def episode_rows(dataset: Dataset, scores: EpisodeScores) -> str:
    """Return the section of a card that shows the episodes one by one, as HTML."""
    wide = scores.wide()
    flagged = scores.filter("flagged")
    shown = (
        wide.sort(["defects", "risks", "episode"], descending=[True, True, False]).head(_MOST_ROWS)["episode"].sort()
    )
    wide = wide.filter(pl.col("episode").is_in(shown.implode()))
    names = [name for name in _FIRST if name in wide.columns]
    names += [name for name in wide.columns if name not in (*names, *_LEFT_OUT) and wide[name].n_unique() > 1]
    episodes = wide["episode"].to_list()
    beside = _correlations(scores.correlations)
    found = _found(flagged)
    with_frames = len(episodes) <= _MOST_FRAMES
    pictures = _frames(dataset, episodes) if with_frames else {}
    drawings = _drawings(dataset, episodes)
    head = [_heading("episode", 0, "")]
    head += ['<th class=text scope="col">speed</th>'] if drawings else []
    head += ['<th class=text scope="col">frames</th>'] if pictures else []
    head.append('<th class=text scope="col">found</th>')
    head += [_heading(_words(name), index + 1, beside.get(name, "")) for index, name in enumerate(names)]
    ranks = [_ranks(wide[name]) for name in ("episode", *names)]
    lines = []
    for row, episode in enumerate(episodes):
        cells = [f'<th scope="row">{episode}</th>']
        cells += [f"<td class=text>{drawings[episode]}</td>"] if drawings else []
        cells += [f"<td class=text>{pictures[episode]}</td>"] if pictures else []
        kinds = [(metric, kind) for (at, metric), kind in found.items() if at == episode]
        cells.append(f"<td class='text long'>{', '.join(escape(_words(metric)) for metric, _ in kinds) or '–'}</td>")
        cells += [_cell(wide[name][row], found.get((episode, name))) for name in names]
        order = ";".join(f"--u{index}:{up[row]};--d{index}:{down[row]}" for index, (up, down) in enumerate(ranks))
        lines.append(f'<tr style="{order}">{"".join(cells)}</tr>')
    caption = "Sort by ▲ and ▼. A number in colour is beyond its limit; r is the rank correlation with the length of the episode."
    if len(episodes) < dataset.total_episodes:
        caption += f" The {len(episodes)} of {dataset.total_episodes:,} episodes with the most findings."
    return (
        f"{_style(len(ranks), len(head))}\n"
        f'<p class="caption">{caption}</p>\n<div class="scroll episodes" tabindex="0" role="region" aria-label="Episodes">\n'
        f"<table>\n<thead><tr>{''.join(head)}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table>\n</div>"
    )


def _style(columns: int, width: int) -> str:
    rules = [
        f".episodes:has(#order-{index}-{way}:checked) tbody tr {{ --order: var(--{way[0]}{index}); }}"
        for index in range(columns)
        for way in ("up", "down")
    ]
    fixed = (
        f".episodes table {{ display: grid; grid-template-columns: repeat({width}, auto); }}",
        ".episodes thead, .episodes tbody, .episodes tr { display: contents; }",
        ".episodes tbody tr > * { order: var(--order, 0); } .episodes thead th { order: -1000000; background: var(--raised); }",
        ".episodes input { position: absolute; opacity: 0; } .episodes label { color: var(--muted); cursor: pointer; }",
        ".episodes label:has(:checked) { color: var(--link); } .episodes label:has(:focus-visible) { outline: 2px solid; }",
        ".episodes thead th { white-space: normal; min-width: 5em; } .episodes td.long { min-width: 9em; } .episodes td.risk { color: var(--series-1); }",
        ".episodes td.defect { color: var(--series-7); font-weight: 700; } .episodes thead small { display: block; }",
    )
    return "<style>\n" + "\n".join([*fixed, *rules]) + "\n</style>"


def _heading(text: str, index: int, beside: str) -> str:
    buttons = "".join(
        f'<label><input type="radio" name="order" id="order-{index}-{way}" aria-label="sort by {escape(text)}, {said}"'
        f"{' checked' if not index and way == 'up' else ''}>{mark}</label>"
        for way, mark, said in (("up", "▲", "lowest first"), ("down", "▼", "highest first"))
    )
    return f'<th scope="col">{escape(text)} {buttons}{f"<small>{beside}</small>" if beside else ""}</th>'


def _words(name: str) -> str:
    metric, _, column = name.partition(" ")
    return metric.replace("_", " ") + (f" {column}" if column else "")


def _correlations(table: pl.DataFrame) -> dict[str, str]:
    counts = table["metric"].to_list()
    return {
        row["metric"]
        if counts.count(row["metric"]) == 1
        else f"{row['metric']} {row['column']}": f"r {row['spearman']:.2f}"
        for row in table.iter_rows(named=True)
        if row["spearman"] is not None
    }


def _found(flagged: pl.DataFrame) -> dict[tuple[int, str], str]:
    """Return (episode, metric) -> kind of what is beyond its limit."""
    rows = flagged.select("episode", "metric", "kind").unique(maintain_order=True)
    return {(episode, metric): kind for episode, metric, kind in rows.iter_rows()}


def _cell(value: float | int | None, kind: str | None) -> str:
    text = "–" if value is None else f"{value:,}" if isinstance(value, int) else number_text(float(f"{value:.3g}"))
    return f"<td{f' class={kind}' if kind else ''}>{text}</td>"


def _ranks(values: pl.Series) -> tuple[list[int], list[int]]:
    """Return the place of each row from low to high and from high to low; what has no value comes last."""
    up, down = (values.arg_sort(descending=descending, nulls_last=True).to_list() for descending in (False, True))
    return [int(place) for place in np.argsort(up)], [int(place) for place in np.argsort(down)]


def _drawings(dataset: Dataset, episodes: list[int]) -> dict[int, str]:
    """Return a drawing of the speed of each episode, with its rest at both ends shaded; {} where nothing has a speed."""
    try:
        signals = Signals(dataset)
        speed, (head, tail) = signals.speed, signals.idle_ends()
    except DatasetError:
        return {}
    known = speed[np.isfinite(speed)]
    top = float(np.quantile(known, 0.995)) if len(known) else 0.0
    result = {}
    for episode in episodes:
        start, length = dataset.episode_starts[episode], dataset.episode_lengths[episode]
        values = np.nan_to_num(speed[start : start + max(1, length - 1)])
        borders = np.unique(np.linspace(0, len(values), min(_POINTS, len(values)) + 1).astype(int))
        peaks = np.maximum.reduceat(values, borders[:-1])
        places = (borders[:-1] + borders[1:]) / 2 / len(values) * _WIDTH
        heights = _HEIGHT - 1 - np.clip(peaks / top if top else peaks * 0, 0, 1) * (_HEIGHT - 2)
        points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(places, heights, strict=True))
        shades = [(0.0, head[episode]), (length - 1 - tail[episode], tail[episode])]
        rectangles = "".join(
            f'<rect x="{begin / len(values) * _WIDTH:.0f}" width="{size / len(values) * _WIDTH:.0f}" height="{_HEIGHT}" '
            'fill="var(--grid)"/>'
            for begin, size in shades
            if size > 0
        )
        result[episode] = (
            f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="speed of episode {episode}">{rectangles}'
            f'<polyline points="{points}" fill="none" stroke="var(--series-0)"/></svg>'
        )
    return result


def _frames(dataset: Dataset, episodes: list[int]) -> dict[int, str]:
    """Return the first, the middle and the last frame of each episode; {} where no observation is an image."""
    names = [name for name in dataset.columns if is_under(name, "observations") and is_image(dataset.column(name))]
    if not names:
        return {}
    array, result = dataset.column(names[0]), {}
    for episode in episodes:
        first, last = int(dataset.episode_starts[episode]) + episode, int(dataset.episode_lengths[episode]) - 1
        pictures = [_picture(array[first + row]) for row in (0, last // 2, last)]
        result[episode] = "".join(pictures)
    return result


def _picture(frame: np.ndarray) -> str:
    from matplotlib.image import imsave

    if frame.ndim == 3 and frame.shape[-1] not in (3, 4):
        frame = frame[..., 0] if frame.shape[0] not in (1, 3, 4) else np.moveaxis(frame, 0, -1)[..., :3].squeeze()
    stride = max(1, -(-max(frame.shape[:2]) // _FRAME_PIXELS))
    small = np.ascontiguousarray(frame[::stride, ::stride])
    buffer = io.BytesIO()
    without_version: Any = {"Software": None}  # the same bytes from every version
    imsave(buffer, small, format="png", cmap="gray", vmin=0, vmax=255, metadata=without_version)
    data = base64.b64encode(buffer.getvalue()).decode()
    height, width = (round(size * _FRAME_PIXELS / max(small.shape[:2])) for size in small.shape[:2])
    return (
        f'<svg width="{width + 2}" height="{height}" aria-hidden="true">'
        f'<image width="{width}" height="{height}" href="data:image/png;base64,{data}"/></svg>'
    )
