"""Policy files: one behaviour policy with its environment and how it was trained.

Linear policies are JSON. Network policies are safetensors, which hold numbers and nothing that could run: float32 tensors
``weight/<layer>`` [inputs, outputs], ``bias/<layer>`` [outputs] and, for continuous actions, ``low`` and ``high``; and in
the file's metadata, under ``assay-policy-file``, an object as JSON text::

    environment_id   "Hopper-v5"
    policy           {"kind": "network", "head": "tanh_gaussian", "activation": "relu", "stochastic": true}
    training         how it was trained, its learning curve, what it was measured to earn, the command, versions

(One entry of metadata and not three, because safetensors writes its entries in no fixed order, and the same policy shall give
the same bytes.) Which of the two kinds a file is, is told from its content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.atomic import atomic_write
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policies import LinearPolicy
from assay.datasets.errors import AssayError, FormatError

__all__ = ["PolicyFile", "open_policy_file", "read_policy_file", "write_policy_file"]

_SCHEMA = "assay-policy-file"
_LARGEST = 1 << 28  # bytes; a policy of more would not be read by mistake
_MOST_LAYERS = 64


@dataclass(frozen=True)
class PolicyFile:
    """What a policy file holds.

    Parameters
    ----------
    environment_id
        What the policy acts in.
    policy
        `LinearPolicy` or `NetworkPolicy`.
    training
        How it was trained, as JSON values.
    """

    environment_id: str
    policy: LinearPolicy | NetworkPolicy
    training: Mapping[str, Any]


def write_policy_file(
    path: Path, environment_id: str, policy: LinearPolicy | NetworkPolicy, training: Mapping[str, Any]
) -> None:
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
    if isinstance(policy, NetworkPolicy):
        atomic_write(path, _network_bytes(environment_id, policy, training))
        return
    content = {
        "schema": _SCHEMA,
        "environment_id": environment_id,
        "policy": policy.to_dict(),
        "training": dict(training),
    }
    atomic_write(path, json.dumps({**content, "digest": _digest(content, {})}, indent=1))


def read_policy_file(path: Path) -> tuple[str, LinearPolicy | NetworkPolicy]:
    """Read (environment id, policy).

    Raises
    ------
    FormatError
        If the file is missing or holds no policy; with what is wrong.
    """
    found = open_policy_file(path)
    return found.environment_id, found.policy


def open_policy_file(path: Path) -> PolicyFile:
    """Read everything a policy file holds; errors are those of `read_policy_file`."""
    try:
        if path.stat().st_size > _LARGEST:
            raise FormatError(f"{path} is larger than any policy file ({_LARGEST >> 20} MiB)")
        content = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read as a policy file: {error}") from error
    try:
        return _parse_json(content) if _is_text(content) else _parse_network(content)
    except FormatError as error:
        raise FormatError(f"{path} {error}") from error
    except AssayError as error:
        raise FormatError(f"{path} holds no usable policy: {error}") from error


def _is_text(content: bytes) -> bool:
    """Tell JSON from safetensors, whose first eight bytes are a length that fits; of text they would be a huge one."""
    length = int.from_bytes(content[:8], "little")
    return content.lstrip()[:1] == b"{" and length > len(content) - 8


def _parse_json(content: bytes) -> PolicyFile:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"cannot be read as a policy file: {error}") from error
    if not isinstance(values, dict) or values.get("schema") != _SCHEMA:
        raise FormatError("is not a policy file; `assay datasets train-policy` writes them")
    _check_digest(values, {})
    try:
        policy = LinearPolicy.from_dict(values["policy"])
        return PolicyFile(str(values["environment_id"]), policy, dict(values.get("training") or {}))
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"holds no usable policy: {error}") from error


def _network_bytes(environment_id: str, policy: NetworkPolicy, training: Mapping[str, Any]) -> bytes:
    from safetensors.numpy import save

    tensors = {f"weight/{i}": np.array(weight) for i, weight in enumerate(policy.weights)}
    tensors |= {f"bias/{i}": np.array(bias) for i, bias in enumerate(policy.biases)}
    if policy.low is not None and policy.high is not None:
        tensors |= {"low": np.array(policy.low), "high": np.array(policy.high)}
    kind = {
        "kind": "network",
        "head": policy.head,
        "activation": policy.activation,
        "stochastic": policy.stochastic,
    }
    content = {"environment_id": environment_id, "policy": kind, "training": dict(training)}
    content["digest"] = _digest(content, tensors)
    return save(tensors, {_SCHEMA: json.dumps(content)})


def _digest(content: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """Return a hash of everything that a file holds."""
    import xxhash

    described = [json.dumps(content, sort_keys=True)]
    described += [f"{name} {tensor.shape}" for name, tensor in sorted(tensors.items())]
    state = xxhash.xxh3_128("\n".join(described).encode())
    for _, tensor in sorted(tensors.items()):
        state.update(np.ascontiguousarray(tensor, "<f4").data.cast("B"))
    return state.hexdigest()


def _check_digest(content: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Raise where the content is not what was written; files of before there were digests have none."""
    digest = content.pop("digest", None)
    if digest is not None and digest != _digest(content, tensors):
        raise FormatError("has changed since it was written: its content does not belong to its digest; copy it again")


def _parse_network(content: bytes) -> PolicyFile:
    from safetensors import SafetensorError, deserialize

    try:
        stored = dict(deserialize(content))  # type: ignore[no-untyped-call]
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__") or {}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise FormatError(f"cannot be read as a policy file: {error}") from error
    if _SCHEMA not in metadata:
        raise FormatError("is not a policy file; `assay datasets train-policy --algorithm sac` writes them")
    try:
        described = json.loads(metadata[_SCHEMA])
        kind, training, environment_id = (described[name] for name in ("policy", "training", "environment_id"))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"holds no usable policy: {type(error).__name__}: {error}") from error
    fields = {"kind", "head", "activation", "stochastic"}
    if not isinstance(kind, dict) or set(kind) != fields or kind["kind"] != "network":
        raise FormatError(f"holds no usable policy: a network policy has the fields {', '.join(sorted(fields))}")
    if (
        not isinstance(kind["stochastic"], bool)
        or not isinstance(training, dict)
        or not isinstance(environment_id, str)
    ):
        raise FormatError(
            "holds no usable policy: stochastic is true or false, training an object, environment_id a name"
        )
    layers = sum(name.startswith("weight/") for name in stored)
    names = {f"{part}/{i}" for part in ("weight", "bias") for i in range(layers)}
    if not 0 < layers <= _MOST_LAYERS or set(stored) not in (names, names | {"low", "high"}):
        raise FormatError(f"holds no usable policy: its tensors are {', '.join(sorted(stored)[:8])}")
    tensors = {}
    for name, tensor in stored.items():
        if tensor["dtype"] != "F32":
            raise FormatError(f"holds no usable policy: tensor {name} is {tensor['dtype']}, not F32")
        tensors[name] = np.frombuffer(tensor["data"], "<f4").reshape(tensor["shape"])
    _check_digest(described, tensors)
    policy = NetworkPolicy(
        [tensors[f"weight/{i}"] for i in range(layers)],
        [tensors[f"bias/{i}"] for i in range(layers)],
        kind["head"],
        tensors.get("low"),
        tensors.get("high"),
        kind["activation"],
        kind["stochastic"],
    )
    return PolicyFile(environment_id, policy, training)
