"""Policy files: one linear policy as JSON, with its environment and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.datasets.atomic import atomic_write
from assay.datasets.collection.policies import LinearPolicy
from assay.datasets.errors import AssayError, FormatError

__all__ = ["read_policy_file", "write_policy_file"]

_SCHEMA = "assay-policy-file"


def write_policy_file(path: Path, environment_id: str, policy: LinearPolicy, training: Mapping[str, Any]) -> None:
    """Write a policy, whole or not at all; `training` is stored beside it as JSON values.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "policy.json")
    >>> policy = LinearPolicy(weights=np.ones((1, 3)), mean=np.zeros(3), std=np.ones(3))
    >>> write_policy_file(file, "Pendulum-v1", policy, {"seed": 0})
    >>> read_policy_file(file)[0]
    'Pendulum-v1'
    """
    content = {
        "schema": _SCHEMA,
        "environment_id": environment_id,
        "policy": policy.to_dict(),
        "training": dict(training),
    }
    atomic_write(path, json.dumps(content, indent=1))


def read_policy_file(path: Path) -> tuple[str, LinearPolicy]:
    """Read (environment id, policy).

    Raises
    ------
    FormatError
        If the file is missing or holds no policy; with what is wrong.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read as a policy file: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise FormatError(f"{path} is not a policy file; `assay datasets train-policy` writes them")
    try:
        return str(content["environment_id"]), LinearPolicy.from_dict(content["policy"])
    except (AssayError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} holds no usable policy: {error}") from error
