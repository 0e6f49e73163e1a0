"""The parts of a page that a script writes stand between two comments: `<!-- name -->` and `<!-- end of name -->`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["replace_part"]


def replace_part(page: Path, name: str, text: str) -> None:
    """Replace what a page holds between the comments of this name."""
    before, after = f"<!-- {name} -->", f"<!-- end of {name} -->"
    content = page.read_text(encoding="utf-8")
    made, count = re.subn(f"{before}.*?{after}", lambda _: f"{before}\n\n{text}\n\n{after}", content, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{page} has no place for {name}, between {before} and {after}")
    page.write_text(made, encoding="utf-8")
