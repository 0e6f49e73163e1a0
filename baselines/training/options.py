"""How a training is carried out: device, precision, populations, processes. One record goes through all doors."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from assay.datasets.device import check_device
from assay.datasets.errors import ConfigError, UnknownNameError

__all__ = ["OptionChanges", "Precision", "Storage", "TrainingOptions"]

Precision: TypeAlias = Literal["highest", "high", "medium", "bf16"]
Storage: TypeAlias = Literal["float32", "float16", "bfloat16"]
_COMPILERS = (os.environ.get("CXX", ""), "g++", "clang++")  # that torch.compile looks for on a CPU


@dataclass(frozen=True)
class TrainingOptions:
    """How a training is carried out.

    `train`, `plan_training`, `run_suite`, `plan_suite` and `train_victim` take one as `options`, or its fields as keyword
    arguments.

    Parameters
    ----------
    device : str
        `"cpu"`, `"cuda"`, `"cuda:1"`, ...
    precision : "highest", "high", "medium" or "bf16", optional
        Of float32 matrix products, as in `torch.set_float32_matmul_precision`; `"medium"` uses bfloat16 operands with
        float32 accumulation, nearly twice as fast on recent CPUs. `"bf16"` keeps activations in bfloat16 too. Default is
        what the suite's budget says, and `"highest"` elsewhere.
    storage : "float32", "float16" or "bfloat16"
        Of the data on the device.
    compile : bool
        Compile the updates with `torch.compile`: fewer, larger kernels after 10 to 60 seconds of compiling, the same numbers but for
        rounding. On CUDA about twice as fast; on a CPU a third faster for one member and a twentieth for twelve, and it needs a C++ compiler.
    population : int or "auto"
        Most members to train together; `"auto"` takes as many as fit into memory and are not slower together, by a table
        of measurements (`assay.baselines.training.sizing`). What does not fit into memory is split further, with a warning.
    processes : int or "auto"
        Processes that train populations side by side on a CPU, each with one thread: small matrix products gain little from
        more threads, and two processes do nearly twice the work of one. The jobs are divided evenly over them. `"auto"` is one per
        thread that PyTorch would use (its cores, or what OMP_NUM_THREADS says), and 1 where the whole training is less than
        about half a minute's work, with `workers=0`, on CUDA and with Ray.
    workers : int, optional
        Simulator processes for evaluation; default one per core, less one where there are more than two. 0 simulates in
        this process. Several training processes share them.
    ray : str, optional
        Address of a Ray cluster, such as `"auto"` or `"host:6379"`; see `assay.baselines.training.cluster`. Every population
        becomes one of its tasks, and a lost node's populations go on elsewhere from their checkpoints. The folder of the
        runs must then be one that all nodes see under the same path.
    checkpoint_seconds : float
        Time between checkpoints.

    Raises
    ------
    ConfigError
        If a field is none of these, or two of them exclude each other.

    Examples
    --------
    >>> TrainingOptions(precision="medium").with_changes({"population": 8})  # doctest: +ELLIPSIS
    TrainingOptions(device='cpu', precision='medium', storage='float32', compile=False, population=8, ...)
    """

    device: str = "cpu"
    precision: Precision | None = None
    storage: Storage = "float32"
    compile: bool = False
    population: int | Literal["auto"] = "auto"
    processes: int | Literal["auto"] = "auto"
    workers: int | None = None
    ray: str | None = None
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name, known in (("precision", get_args(Precision)), ("storage", get_args(Storage))):
            value = getattr(self, name)
            if value not in known and not (name == "precision" and value is None):
                raise ConfigError(f"{name}={value!r} is not one of {', '.join(known)}")
        for name in ("population", "processes"):
            if (value := getattr(self, name)) != "auto" and not _is_count(value, least=1):
                raise ConfigError(f"{name}={value!r} must be at least 1, or 'auto'")
        if self.workers is not None and not _is_count(self.workers, least=0):
            raise ConfigError(f"workers={self.workers!r} must be 0 or more processes, or None for one per core")
        if not isinstance(self.checkpoint_seconds, int | float) or not self.checkpoint_seconds >= 0:
            raise ConfigError(f"checkpoint_seconds={self.checkpoint_seconds!r} must be 0 or more seconds")
        if not isinstance(self.compile, bool):
            raise ConfigError(f"compile={self.compile!r} must be True or False")
        if self.ray is not None and not isinstance(self.ray, str):
            raise ConfigError(f"ray={self.ray!r} must be an address such as 'auto', or None")
        if not isinstance(self.device, str):
            raise ConfigError(f"device={self.device!r} must be a name such as 'cpu' or 'cuda:0'")
        if self.processes not in ("auto", 1) and (self.ray is not None or self.on_cuda):
            instead = "Ray starts its own" if self.ray is not None else "one process keeps a GPU busy"
            raise ConfigError(f"processes={self.processes!r} are for the cores of this machine's CPU; {instead}")
        if self.ray is not None and self.device not in ("cpu", "cuda"):
            raise ConfigError(f"device={self.device!r}: Ray chooses the device of a population; pass 'cuda' or 'cpu'")
        if self.compile and not self.on_cuda and not any(map(shutil.which, _COMPILERS)):
            raise ConfigError(
                f"compile=True needs a C++ compiler on a CPU ({', '.join(_COMPILERS[1:])}, or CXX in the environment)"
            )

    @property
    def on_cuda(self) -> bool:
        """Whether the device is a CUDA one."""
        return self.device.partition(":")[0] == "cuda"

    @property
    def matmul_precision(self) -> Precision:
        """The precision, `"highest"` where none was chosen."""
        return self.precision or "highest"

    def check_device(self) -> None:
        """Raise ConfigError where the device cannot be used here; with Ray it is the nodes' matter."""
        if self.ray is None:
            check_device(self.device)

    def with_changes(self, changes: OptionChanges) -> TrainingOptions:
        """Return the options with some fields changed.

        Raises
        ------
        UnknownNameError
            If there is no such field.
        """
        known = [item.name for item in fields(self)]
        for name in changes:
            if name not in known:
                raise UnknownNameError("training option", name, known)
        return replace(self, **changes)

    def or_precision(self, default: Precision) -> TrainingOptions:
        """Return the options with a precision where none was chosen."""
        return self if self.precision is not None else replace(self, precision=default)


class OptionChanges(TypedDict, total=False):
    """The fields of `TrainingOptions` as keyword arguments."""

    device: str
    precision: Precision | None
    storage: Storage
    compile: bool
    population: int | Literal["auto"]
    processes: int | Literal["auto"]
    workers: int | None
    ray: str | None
    checkpoint_seconds: float


def _is_count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
