"""Tables of people's own: CSV, Parquet and JSON Lines, one file or a folder of files, by a mapping of names.

Rows are steps. The mapping says which columns are observations, actions and so on, what tells episodes apart, and what the
end of an episode means: `assay.datasets.tables.column_mapping` has its words, and `assay datasets map PATH` proposes one. A
folder without ids of episodes holds one file per episode. An episode of T rows has T observations for T steps: its final
observation is unknown, unless its last row has no action.
"""

from __future__ import annotations

from pathlib import Path

from assay.datasets.dataset import Dataset
from assay.datasets.errors import AssayError
from assay.datasets.formats.containers.parquet import parquet_names
from assay.datasets.formats.mapping import Given
from assay.datasets.formats.rows import naming
from assay.datasets.info import DatasetInfo
from assay.datasets.tables.assembly import dataset_from_table
from assay.datasets.tables.column_mapping import as_mapping
from assay.datasets.tables.files import files_of, kind_of, open_table
from assay.datasets.tables.proposal import propose_for_table

__all__ = ["propose", "read", "sniff", "sniff_mapped"]

TITLE = "table"
LAYOUT = "file .csv, .tsv, .parquet or .jsonl, or folder of them"
ORDER = 200
CANNOT_HOLD = ""
_KINDS = {"csv": "CSV", "parquet": "Parquet", "jsonl": "JSON Lines"}


def sniff(path: Path) -> bool:
    """Tell whether `path` is a Parquet table with the dataset's own names, and flags among them; others need a mapping."""
    found = {name.split("/")[0] for name in parquet_names(path)}
    return found >= {"observations", "actions", "rewards"} and bool(found & {"terminations", "truncations"})


def sniff_mapped(path: Path) -> bool:
    """Tell whether `path` can be read where a mapping is given: a file of rows, or a folder with such files of one kind."""
    try:
        files = files_of(path)
        return bool(files) and all(kind_of(file) is not None for file in files)
    except (AssayError, OSError):
        return False


def read(path: Path, *, columns: Given = None, delimiter: str | None = None, decimal: str = ".") -> Dataset:
    """Read a table, or a folder of tables.

    Parameters
    ----------
    path : Path
    columns : mapping, or path of a YAML file
        See `assay.datasets.tables.column_mapping`. Without it, the table must use the dataset's own names.
    delimiter : str, optional
        Between the values of a CSV file; by default what occurs most in its first line.
    decimal : str
        Point of the numbers in a CSV file.

    Returns
    -------
    Dataset
        Missing numbers of observations are NaN. The id of each episode is the episode column `id`.

    Warns
    -----
    AssayWarning
        About columns that are not taken, and about flags that are nowhere.

    Raises
    ------
    ConfigError
        If the mapping cannot be meant, or names what is not there.
    FormatError, DatasetError
        If a file is damaged, a column is missing, or rows do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "run.csv")
    >>> _ = path.write_text("t,x,u,r\\n0.0,1,0.5,1\\n0.1,2,0.5,1\\n0.2,3,,\\n")
    >>> columns = {"observations": ["x"], "actions": ["u"], "rewards": "r", "time": "t", "episode_lengths": "all"}
    >>> read(path, columns=columns | {"ends": "truncated"}).observations.ravel().tolist()  # the last row has no action
    [1, 2, 3]
    """
    mapping = as_mapping(columns, path)
    with naming(path):
        table = open_table(path, delimiter=delimiter, decimal=decimal)
        files = files_of(path)
        kind = _KINDS[kind_of(files[0]) or "csv"]
        source = f"{kind} file {path.name}" if path.is_file() else f"folder {path.name} of {len(files)} {kind} files"
        return dataset_from_table(table, mapping, where=path, info=DatasetInfo(source=source))


def propose(path: Path, *, delimiter: str | None = None, decimal: str = ".") -> str:
    """Return a mapping for `path`, as YAML to be edited; see `assay.datasets.tables.proposal`."""
    with naming(path):
        return propose_for_table(open_table(path, delimiter=delimiter, decimal=decimal), path)
