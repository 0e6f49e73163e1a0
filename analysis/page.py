"""Self-contained HTML pages: figures inline as SVG, tables that scroll, one style for light and dark, nothing fetched.

A figure is drawn once for each width in `WIDTHS`, and the page shows the drawing that fits, so that text is never scaled.
"""

from __future__ import annotations

import html
import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal, TypeAlias

from assay.analysis.figures import GRID, INK, MUTED, SERIES
from assay.datasets.atomic import atomic_write
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "WIDTHS",
    "escape",
    "figure_block",
    "is_page",
    "svg",
    "table_block",
    "tables_script",
    "value_text",
    "writable",
    "write_page",
]

WIDTHS = {"wide": 1040, "medium": 680, "narrow": 354}
"""Pixels of the column that a figure fills: on a desk, on a tablet of 720 pixels, and on a phone of 390."""
Kind: TypeAlias = Literal["report", "card", "advice"]
_HEAD = 1000  # bytes of a page, which hold what its head says of it
_PHONE = WIDTHS["narrow"]
_CELL = 6.6  # pixels of a character in a table on a phone
_LONG = 205  # pixels, the least width of a column of sentences on a phone
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    color: f"--series-{index}" for index, color in enumerate(SERIES)
}


def escape(value: object) -> str:
    """Write a value as HTML text."""
    return html.escape(str(value), quote=True)


def svg(figure: Figure, name: str) -> str:
    """Return a figure as inline SVG: text stays text, colours are the page's variables, ids begin with `name`."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "savefig.bbox": "standard"}):
        # the resolution is that of rasterized parts, such as clouds of points
        figure.savefig(buffer, format="svg", dpi=200, transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]  # the XML prolog and doctype have no place inside HTML
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    # ids repeat between drawings, and a page must not refer into one that is hidden at this width
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    width, height = figure.get_size_inches() * 100
    return re.sub(r'width="[^"]*pt" height="[^"]*pt"', f'width="{width:.0f}" height="{height:.0f}"', text, count=1)


def figure_block(name: str, draw: Callable[[int], Figure | None], description: str) -> str:
    """Return a figure drawn for each width of the page, which shows one of the drawings; "" where there is no figure.

    Parameters
    ----------
    name : str
        Begins the ids of the drawings.
    draw : callable
        Takes a width in pixels and returns the figure, or None at every width.
    description : str
        What a reader who sees no figures is told.
    """
    drawings = {size: draw(width) for size, width in WIDTHS.items()}
    shown = [
        f'<div class="{size}">{svg(figure, f"{name}-{size}")}</div>'
        for size, figure in drawings.items()
        if figure is not None
    ]
    if not shown:
        return ""
    return f'<figure role="img" aria-label="{escape(description)}">\n' + "\n".join(shown) + "\n</figure>"


def table_block(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str,
    text: Sequence[int] = (),
    *,
    sortable: bool = False,
) -> str:
    """Return a table that scrolls inside its frame, with a hint where a phone does not show all columns.

    Parameters
    ----------
    header : sequence of str
        Names of the columns, as HTML.
    rows : iterable of sequence of str
        Cells as HTML; the first one of a row is its heading.
    caption : str
        As HTML.
    text : sequence of int
        Columns that are set to the left.
    sortable : bool
        Whether a reader can order and filter the rows.
    """
    head = "".join(
        f'<th scope="col"{" class=text" if index in text else ""}>{name}</th>' for index, name in enumerate(header)
    )
    rows = [list(row) for row in rows]
    lines = []
    for row in rows:
        cells = [
            cell if cell.startswith("<td") else f"<td{' class=text' if index in text else ''}>{cell}</td>"
            for index, cell in enumerate(row)
            if index
        ]
        unscored = " class=unscored" if any(cell.startswith("<td data-status") for cell in cells) else ""
        lines.append(f'<tr{unscored}><th scope="row">{row[0]}</th>{"".join(cells)}</tr>')
    name = re.sub("<[^>]*>", "", caption)  # escaped already, as the cells are
    hint = '<p class="sideways">Scroll sideways for more columns →</p>\n'
    return (
        f'<p class="caption">{caption}</p>\n{hint if _wider_than_a_phone(header, rows) else ""}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">\n<table{" class=sortable" if sortable else ""}>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table>\n</div>"
    )


def _wider_than_a_phone(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether a table is wider than a phone, estimated from the longest line of the cells of each column."""
    width = 0.0
    for index, name in enumerate(header):
        cells = [row[index] for row in rows if index < len(row)]
        lines = [line for cell in [name, *cells] for line in re.split(r"<small[^>]*>", cell)]
        longest = _CELL * max(len(html.unescape(re.sub("<[^>]*>", "", line)).strip()) for line in lines)
        if any(cell.startswith("<td class='text long") for cell in cells):
            longest = min(longest, _LONG)
        width += min(longest, 0.42 * _PHONE) + 13 if index == 0 else longest + 13
    return width > _PHONE


def value_text(value: float) -> str:
    """Write a number with four significant digits, whole numbers in full."""
    if value != value or value in (float("inf"), float("-inf")):
        return "–"
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def writable(output: str | os.PathLike[str], example: str, *, overwrite: bool) -> Path:
    """Return the file to write, or raise ConfigError where it must not be written."""
    target = Path(output)
    if target.is_dir():
        raise ConfigError(f"{target} is a folder; name the file to write, such as {target / example}")
    if target.exists() and not overwrite:
        raise ConfigError(f"{target} exists already; choose another path or pass overwrite=True (--overwrite)")
    return target


def write_page(target: Path, title: str, body: str, kind: Kind) -> None:
    """Write a page, whole or not at all; the body is HTML already, the title is not."""
    atomic_write(target, page_text(title, body, kind))


def is_page(path: Path, kind: Kind) -> bool:
    """Tell whether a file is a page of this kind that Assay wrote, by the head of the page."""
    if not path.is_file():  # a pipe would be waited for
        return False
    with path.open("rb") as file:
        return f'<meta name="assay-page" content="{kind}">'.encode() in file.read(_HEAD)


def page_text(title: str, body: str, kind: Kind) -> str:
    """Return a page; the body is HTML already, the title is not."""
    from assay import __version__

    script = f"<script>{tables_script()}</script>" if "<table class=sortable>" in body else ""
    template = Template(_template("page.html"))
    return template.substitute(title=escape(title), kind=kind, version=escape(__version__), body=body, script=script)


def tables_script() -> str:
    """Return the script that orders and filters tables; a page holds no other."""
    return _template("tables.js")


def _template(name: str) -> str:
    return (files("assay.analysis") / "templates" / name).read_text(encoding="utf-8")
