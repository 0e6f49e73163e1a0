"""Models on this machine, loaded by path: nothing is downloaded, no code that came with a model runs, weights are safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.datasets.device import check_device
from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["load", "pictures", "weights_digest"]


def load(path: str, kind: str, device: str) -> tuple[Any, Any]:
    """Return a model, ready on its device, and its processor.

    Parameters
    ----------
    path : str
        A folder as `save_pretrained` writes it.
    kind : str
        The class of transformers that opens it, such as `"AutoModel"`.

    Raises
    ------
    ConfigError
        If the device cannot be used, transformers is not installed, the folder does not exist, or it holds no such model.
    """
    check_device(device)
    transformers = _transformers()
    if not Path(path).is_dir():
        raise ConfigError(
            f"{path} is no folder; a local judge takes the path of a model that was downloaded before (config.json, "
            "*.safetensors and the files of its processor)"
        )
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = transformers.AutoProcessor.from_pretrained(path, **safe)
        model = getattr(transformers, kind).from_pretrained(path, use_safetensors=True, **safe)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(f"{path} cannot be loaded as {kind}: {str(error).splitlines()[0]}") from error
    return model.eval().to(device), processor


def weights_digest(path: str) -> str:
    """Return a hash of the weights of a model, which its answers are kept under: 12 hexadecimal digits."""
    import xxhash

    state = xxhash.xxh3_128()
    for file in sorted(Path(path).glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 24):
                state.update(block)
    return state.hexdigest()[:12]


def pictures(frames: list[np.ndarray]) -> list[Any]:
    """Return frames, (height, width, channels) each, as the pictures that processors take."""
    from PIL import Image

    return [Image.fromarray(np.repeat(frame, 3, -1) if frame.shape[-1] == 1 else frame) for frame in frames]


def _transformers() -> ModuleType:
    try:
        import transformers
    except ImportError:
        raise ConfigError("a local judge needs the package transformers: pip install 'assay[local-judges]'") from None
    return transformers
