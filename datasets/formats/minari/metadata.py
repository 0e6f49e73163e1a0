"""Minari's metadata.json: totals, spaces, and what is known about the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.datasets.dataset import Dataset
from assay.datasets.errors import FormatError
from assay.datasets.formats.containers.files import read_json_object
from assay.datasets.formats.minari.values import is_image
from assay.datasets.info import DatasetInfo, ReferenceScores
from assay.datasets.spaces import Space, leaves, space_from_json, space_to_json

__all__ = ["DATA_FORMATS", "METADATA", "info_of", "metadata_of", "own_block", "read_metadata", "space_of", "text_width"]

METADATA = "metadata.json"
DATA_FORMATS = ("hdf5", "arrow", "parquet")
_MINARI_VERSION = "0.5.4"  # the version whose layout is written; readers refuse versions they do not know
_FIELDS = {  # entry of metadata.json -> field of DatasetInfo
    "dataset_id": "id",
    "env_spec": "env_spec",
    "code_permalink": "code",
    "author": "authors",
    "author_email": "author_emails",
    "algorithm_name": "algorithm",
    "description": "description",
    "requirements": "requirements",
}
_OWN_KEYS = {
    *_FIELDS,
    *("total_episodes", "total_steps", "data_format", "jpeg_encoding", "observation_space", "action_space"),
    *("minari_version", "dataset_size", "ref_min_score", "ref_max_score", "assay"),
}


def read_metadata(file: Path) -> dict[str, Any]:
    """Read the file and check the entries that readers rely on.

    Raises
    ------
    FormatError
        If it is missing or damaged; with the entry.
    """
    metadata = read_json_object(file)
    stored_as = metadata.get("data_format", "hdf5")
    if stored_as not in DATA_FORMATS:
        raise FormatError(f"{file}: data_format is {stored_as!r}; known: {', '.join(DATA_FORMATS)}")
    for key in ("total_episodes", "total_steps"):
        value = metadata.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**62:
            raise FormatError(f"{file}: {key} is {value!r}; a positive integer belongs there")
    for key in ("dataset_id", "env_spec", "algorithm_name", "description", "code_permalink", "minari_version"):
        if not isinstance(metadata.get(key, ""), str):
            raise FormatError(f"{file}: {key} is {type(metadata[key]).__name__}; text belongs there")
    return metadata


def space_of(metadata: Mapping[str, Any], key: str, file: Path) -> Space | None:
    """Return a space, or None where there is none: Minari asks the environment then."""
    if key not in metadata:
        return None
    try:
        return space_from_json(metadata[key])
    except FormatError as error:
        raise FormatError(f"{file}: {key} is {error}") from error


def own_block(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what Assay added when it wrote the dataset, or nothing."""
    block = metadata.get("assay")
    return block if isinstance(block, dict) else {}


def text_width(metadata: Mapping[str, Any], name: str) -> Any:
    """Return how long the texts of a column could have been when Assay wrote it, where that was noted."""
    widths = own_block(metadata).get("text_widths")
    return widths.get(name) if isinstance(widths, dict) else None


def info_of(metadata: Mapping[str, Any], spaces: Mapping[str, Space | None]) -> DatasetInfo:
    """Return what metadata.json says about a dataset; entries without a field are in `extra`."""
    block = own_block(metadata)
    values: dict[str, Any] = {}
    for key, name in _FIELDS.items():
        value = metadata.get(key)
        if value is not None:
            several = name in ("authors", "author_emails", "requirements")
            values[name] = tuple([value] if isinstance(value, str) else map(str, value)) if several else value
    extra = {key: value for key, value in metadata.items() if key not in _OWN_KEYS}
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    references = None
    if isinstance(low, int | float) and isinstance(high, int | float):
        references = ReferenceScores(float(low), float(high), str(block.get("references") or "Minari metadata"))
    else:
        extra |= {key: metadata[key] for key in ("ref_min_score", "ref_max_score") if metadata.get(key) is not None}
    version = metadata.get("minari_version", "of unknown version")
    return DatasetInfo(
        observation_space=spaces["observations"],
        action_space=spaces["actions"],
        reference_scores=references,
        source=str(block.get("source") or f"Minari {metadata.get('dataset_id', '')}, written by Minari {version}"),
        licence=str(block.get("licence", "")),
        extra=extra,
        **values,
    )


def metadata_of(
    dataset: Dataset, identifier: str, spaces: Mapping[str, Space], data_format: str, block: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of metadata.json, in Minari's order; `block` is kept under "assay"."""
    info = dataset.info
    images = any(is_image(leaf) for space in spaces.values() for leaf in leaves(space, "").values())
    metadata: dict[str, Any] = {
        "total_episodes": dataset.total_episodes,
        "total_steps": dataset.total_steps,
        "data_format": data_format,
        "jpeg_encoding": not images,  # JPEG would change the pixels
        "observation_space": space_to_json(spaces["observations"]),
        "action_space": space_to_json(spaces["actions"]),
    }
    optional = {
        "env_spec": info.env_spec,
        "dataset_id": identifier,
        "code_permalink": info.code,
        "author": list(info.authors),
        "author_email": list(info.author_emails),
        "algorithm_name": info.algorithm,
        "description": info.description,
        "minari_version": _MINARI_VERSION,
    }
    metadata |= {key: value for key, value in optional.items() if value}
    if info.reference_scores is not None:
        metadata["ref_max_score"] = info.reference_scores.expert
        metadata["ref_min_score"] = info.reference_scores.random
    if info.requirements:
        metadata["requirements"] = list(info.requirements)
    metadata |= {key: value for key, value in info.extra.items() if key not in metadata and key not in _OWN_KEYS}
    metadata |= {key: info.extra[key] for key in ("ref_min_score", "ref_max_score") if key in info.extra}
    # Minari keeps entries that it does not know; these are the ones that it has no name for.
    metadata["assay"] = {
        "fingerprint": dataset.fingerprint,
        "licence": info.licence,
        "source": info.source,
        "references": info.reference_scores.source if info.reference_scores else "",
        "history": [record.to_plain() for record in dataset.history],
        **block,
    }
    return metadata
