"""Write the table of formats into docs/formats.md.

python docs/make_format_table.py
"""

from __future__ import annotations

from pathlib import Path

from assay.datasets.formats import FORMATS, format_named, writable_formats

PAGE = Path(__file__).parent / "formats.md"
BEGIN, END = "<!-- made by docs/make_format_table.py -->\n", "<!-- end -->"


def table() -> str:
    """Return the table as Markdown."""
    lines = ["| name | format | on disk | read | written | cannot hold |", "|---|---|---|---|---|---|"]
    for name in FORMATS:
        module = format_named(name)
        written = name in writable_formats()
        loses = (module.CANNOT_HOLD or "(everything fits)") if written else ""
        lines.append(f"| `{name}` | {module.TITLE} | {module.LAYOUT} | yes | {'yes' if written else '-'} | {loses} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Put the table between its marks."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
