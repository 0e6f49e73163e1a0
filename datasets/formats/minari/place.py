"""The place in a dataset that a reader is at, for its messages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Place:
    """A file, and the episode and column in it where they are known; `str()` is the text for a message."""

    file: Path
    episode: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        text = str(self.file)
        if self.episode is not None:
            text += f": episode {self.episode}"
        return text if self.column is None else f"{text}: column {self.column}"

    @property
    def infos_hint(self) -> str:
        """How to go on without a column that cannot be read, where that is possible."""
        is_info = self.column is not None and self.column.startswith("infos")
        return "; pass infos=False to leave the infos out" if is_info else ""
