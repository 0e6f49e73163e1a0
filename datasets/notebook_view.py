"""What a notebook shows of a dataset: a few facts, and the returns and lengths of its episodes as a small picture.

Everything is in the text itself: no script, nothing fetched, and texts of the data are escaped.
"""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

import numpy as np

from assay.datasets.wording import count_of

if TYPE_CHECKING:
    from assay.datasets.dataset import Dataset

__all__ = ["notebook_view"]

_WIDTH, _HEIGHT, _MOST_BARS = 320, 44, 80
_LISTED = 12  # columns, and names of dimensions


def notebook_view(dataset: Dataset) -> str:
    """Return a summary as HTML.

    Examples
    --------
    >>> from assay.datasets import Dataset
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, True], truncations=[False, False, False])
    >>> "3 steps in 2 episodes" in notebook_view(dataset), "<svg" in notebook_view(dataset)
    (True, True)
    """
    title = html.escape(dataset.name)
    facts = [f"{count_of(dataset.total_steps, 'step')} in {count_of(dataset.total_episodes, 'episode')}"]
    if dataset.info.environment_id:
        facts.append(html.escape(dataset.info.environment_id))
    pictures = [("lengths", dataset.episode_lengths.astype(np.float64))]
    if "rewards" in dataset.columns:
        with np.errstate(invalid="ignore", over="ignore"):
            pictures.insert(0, ("returns", dataset.returns))
    drawn = "".join(
        f"<figure style='margin:4px 16px 4px 0'>{_bars(name, values)}</figure>" for name, values in pictures
    )
    rows = "".join(_row(dataset, name) for name in dataset.columns[:_LISTED])
    more = len(dataset.columns) - _LISTED
    if more > 0:
        rows += f"<tr><td colspan=4>and {more} more columns</td></tr>"
    return (
        f"<div><strong>{title}</strong><br>{'; '.join(facts)}<div style='display:flex;flex-wrap:wrap'>{drawn}</div>"
        "<table><thead><tr><th>column</th><th>type</th><th>shape</th><th>numbers</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(dataset: Dataset, name: str) -> str:
    array = dataset.column(name)
    names = dataset.info.names.get(name, ())
    units = dataset.info.units.get(name, ("",) * len(names))
    texts = [f"{text} ({unit})" if unit else text for text, unit in zip(names, units)]
    listed = ", ".join(texts[:_LISTED]) + (", ..." if len(texts) > _LISTED else "")
    shape = " x ".join(f"{size:,}" for size in array.shape)
    return (
        f"<tr><td><code>{html.escape(name)}</code></td><td>{html.escape(str(array.dtype))}</td><td>{shape}</td>"
        f"<td style='text-align:left'>{html.escape(listed)}</td></tr>"
    )


def _bars(name: str, values: np.ndarray) -> str:
    """Draw the values of the episodes in their order, as bars; of many episodes the mean of neighbours."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return f"<figcaption>{name}: none is finite</figcaption>"
    groups = np.array_split(values, min(len(values), _MOST_BARS))
    means = [float(group[np.isfinite(group)].mean()) if np.isfinite(group).any() else math.nan for group in groups]
    known = [mean for mean in means if not math.isnan(mean)]
    low, high = min(0.0, *known), max(0.0, *known)
    span = (high - low) or 1.0
    width = _WIDTH / len(means)
    bars = []
    for number, mean in enumerate(means):
        if not math.isnan(mean):
            top, bottom = (high - max(mean, 0.0)) / span * _HEIGHT, (high - min(mean, 0.0)) / span * _HEIGHT
            bars.append(
                f"<rect x='{number * width:.2f}' y='{top:.2f}' width='{max(0.5, width * 0.85):.2f}' "
                f"height='{max(0.5, bottom - top):.2f}'/>"
            )
    caption = f"{name} of the episodes: {finite.min():,.4g} to {finite.max():,.4g}, mean {finite.mean():,.4g}"
    return (
        f"<figcaption>{caption}</figcaption><svg width='{_WIDTH}' height='{_HEIGHT}' role='img' "
        f"aria-label='{caption}' fill='currentColor' fill-opacity='0.55'>{''.join(bars)}</svg>"
    )
