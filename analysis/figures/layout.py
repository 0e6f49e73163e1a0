"""Placing things on a figure in CSS pixels, from the upper left corner.

A figure is laid out for the width at which it is shown, so that its text is readable there without scaling. A figure has
100 dots per inch, so one dot is one CSS pixel.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from assay.analysis.figures.style import FONT_POINTS, GRID, INK, LITERAL, MUTED, SMALL_POINTS, thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BOLD",
    "LINE_HEIGHT",
    "Heading",
    "axes_at",
    "canvas",
    "legend",
    "line_count",
    "panels",
    "shorten",
    "text_width",
    "wrapped",
    "write_text",
]

CHARACTER = 7.4  # pixels, the mean width of a character of FONT_POINTS in a wide sans-serif face
BOLD = 1.15  # how much wider bold characters are
LINE_HEIGHT = 17  # pixels from one line of text to the next
_TITLE_LINE = 19
_TITLE_WIDER = 1.42  # how much wider the characters of a title are


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of a size in pixels, which notebooks show."""
    made: Figure = _shown_figure()(figsize=(width / 100, height / 100), dpi=100, facecolor="white")
    return made


@cache
def _shown_figure() -> Any:
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        """A figure that shows itself in a notebook, also where pyplot was not imported and so nothing else would show it."""

        def _repr_png_(self) -> bytes:
            content = io.BytesIO()
            self.savefig(content, format="png", dpi=self.dpi, facecolor=self.get_facecolor())
            return content.getvalue()

    return ShownFigure


def axes_at(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes at a place given in pixels from the upper left corner."""
    total_width, total_height = figure.get_size_inches() * 100
    bottom = 1 - (top + height) / total_height
    axes = figure.add_axes((left / total_width, bottom, width / total_width, height / total_height))
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelsize=SMALL_POINTS, length=3)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def write_text(figure: Figure, text: str, left: float, top: float, **options: Any) -> None:
    """Write text with its upper left corner at a place given in pixels."""
    width, height = figure.get_size_inches() * 100
    style: dict[str, Any] = {
        "fontsize": FONT_POINTS,
        "color": INK,
        "ha": "left",
        "va": "top",
        "linespacing": 1.3,
        **LITERAL,
    }
    figure.text(left / width, 1 - top / height, text, **{**style, **options})


def text_width(texts: Sequence[str], longest: float = math.inf) -> float:
    """Return the width in pixels of the longest of these texts, at most `longest`."""
    return min(longest, max((len(text) for text in texts), default=0) * CHARACTER)


def wrapped(text: str, pixels: float) -> str:
    """Break a text into lines of about this width."""
    return "\n".join(textwrap.wrap(text, max(10, int(pixels / CHARACTER)), break_long_words=True))


def line_count(text: str) -> int:
    """Return how many lines a text has."""
    return text.count("\n") + 1


def shorten(text: str, pixels: float) -> str:
    """Cut a text to this width, with an ellipsis at its end."""
    longest = max(4, int((pixels - 6) / CHARACTER))
    return text if len(text) <= longest else text[: longest - 1] + "…"


class Heading:
    """The title of a figure and the key below it, wrapped for a width.

    Parameters
    ----------
    width : float
        Pixels of the figure.
    title, key : str

    Attributes
    ----------
    height : float
        Pixels from the top of the figure to where its panels begin.
    """

    def __init__(self, width: float, title: str, key: str = "") -> None:
        self.title = wrapped(title, width / _TITLE_WIDER)
        self.key = wrapped(key, width - 16)
        self._key_top = 10 + line_count(self.title) * _TITLE_LINE + 4
        self.height = self._key_top + (line_count(self.key) * LINE_HEIGHT if key else 0) + 8

    def write(self, figure: Figure, top: float = 0.0) -> None:
        """Write the heading at the left edge of a figure, `top` pixels below its upper edge."""
        write_text(figure, self.title, 12, top + 10, fontsize=FONT_POINTS + 1.5, fontweight="bold")
        write_text(figure, self.key, 12, top + self._key_top, color=MUTED)


def panels(
    names: Sequence[str], width: float, columns: int, title: str, key: str, label: str, *, shared: bool
) -> tuple[Figure, list[Axes]]:
    """Start a figure of equal panels in a grid, each below its name.

    Parameters
    ----------
    names : sequence of str
        One per panel.
    width : float
        Pixels of the figure.
    columns : int
        Panels side by side.
    title, key, label : str
        Heading of the figure, and what the axes mean; the label stands below the panels.
    shared : bool
        Whether the panels of a row share their vertical axis, which is then labelled on the left only.
    """
    heading, label = Heading(width, title, key), wrapped(label, width - 16)
    left, gap = 46, 14 if shared else 50
    cell = (width - left - 12 - gap * (columns - 1)) / columns
    names = [wrapped(name, cell / BOLD) for name in names]
    above = max(map(line_count, names)) * 15 + 6
    rows = math.ceil(len(names) / columns)
    tall = 118 + above + 32
    figure = canvas(width, heading.height + rows * tall + 4 + LINE_HEIGHT * line_count(label))
    heading.write(figure)
    write_text(figure, label, 12, heading.height + rows * tall - 2, color=INK)
    found = []
    for index, name in enumerate(names):
        row, column = divmod(index, columns)
        start, top = left + column * (cell + gap), heading.height + row * tall
        write_text(figure, name, start, top + above - 4, fontweight="bold", fontsize=SMALL_POINTS, va="bottom")
        axes = axes_at(figure, start, top + above, cell, 118)
        axes.grid(axis="both", color=GRID, linewidth=0.8)
        axes.locator_params(nbins=4, axis="x")
        axes.locator_params(nbins=5, axis="y")
        axes.xaxis.set_major_formatter(thousands)
        axes.tick_params(labelleft=column == 0 or not shared)
        found.append(axes)
    return figure, found


def legend(figure: Figure, names: list[str], styles: list[dict[str, Any]], width: float) -> None:
    """Write the names of the series below the panels, as many to a line as fit."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linewidth=2.0, **style) for style in styles]
    columns = max(1, int((width - 24) / (text_width(names) + 56)))
    total_width, total_height = figure.get_size_inches() * 100
    extra = math.ceil(len(names) / columns) * 19 + 12
    _add_room_below(figure, extra)
    made = figure.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(12 / total_width, 4 / (total_height + extra)),
        ncols=columns,
        frameon=False,
        fontsize=FONT_POINTS,
        labelcolor=INK,
        handlelength=2.0,
        borderpad=0.0,
        borderaxespad=0.0,
        columnspacing=1.4,
    )
    for text in made.get_texts():
        text.set(**LITERAL)


def _add_room_below(figure: Figure, pixels: float) -> None:
    """Make a figure taller; what is drawn already keeps its distance from the top."""
    width, height = figure.get_size_inches() * 100
    scale = height / (height + pixels)
    figure.set_size_inches(width / 100, (height + pixels) / 100)
    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0, 1 - (1 - box.y0) * scale, box.width, box.height * scale))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((x, 1 - (1 - y) * scale))
