"""DSRL's HDF5 files (Liu et al. 2023, arXiv 2306.09303): D4RL's flat layout with next observations and costs.

The layout is drawn in `flat_hdf5`; `costs` (N,) or (N, 1) come beside it, and next observations and timeouts are always
there. The published loader casts to float32; here dtypes stay. The names of the published files tell the task, and with
it the lowest and highest return of an episode among all data, by which DSRL normalizes.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from assay.datasets.dataset import Dataset
from assay.datasets.errors import DatasetError
from assay.datasets.formats.containers.hdf5 import members, open_hdf5
from assay.datasets.formats.flat_hdf5 import read_flat, write_flat
from assay.datasets.info import DatasetInfo, ReferenceScores

__all__ = ["read", "sniff", "write"]

TITLE = "DSRL"
LAYOUT = "file .hdf5"
ORDER = 70
CANNOT_HOLD = (
    "datasets without actions or rewards (an error), "
    "labels that are missing in part (missing/..., dropped by name only), "
    "datasets without costs (an error), nested observations and actions (an error), episodes that the flags do not "
    "tell apart (an error), unknown final observations (an error), weights, corrupted/... and other columns that "
    "methods may learn from (dropped by name only), episode columns, the final row of infos of N+E rows, infos of "
    "text, foreign byte order"
)

NEEDED = ("observations", "next_observations", "actions", "rewards", "costs", "terminals", "timeouts")
_NAME = re.compile(r"Safe(?:ty|MetaDrive-)([A-Za-z0-9]+?)(?:Gymnasium)?-v\d+-\d+-\d+")


def sniff(path: Path) -> bool:
    """Tell whether `path` is a flat HDF5 file with all of DSRL's names, and none of d3rlpy's."""
    found = members(path)
    return found >= set(NEEDED) and not found & {"episode_terminals", "discrete_action"}


def read(path: Path) -> Dataset:
    """Read a DSRL file.

    Parameters
    ----------
    path : Path
        A published file name, such as `SafetyBallCircle-v0-80-886.hdf5`, gives the info its id, its reference scores
        and, in `info.extra["episode_cost_range"]`, the lowest and highest cost; under another name they stay unknown.

    Returns
    -------
    Dataset
        With a column `costs`.

    Raises
    ------
    FormatError, DatasetError
        If the file is damaged, an array is missing, or arrays do not fit together; with file and array.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> dataset = Dataset.from_arrays(
    ...     observations=np.arange(5.0), actions=np.zeros(3), rewards=[1.0, 1.0, 4.0],
    ...     terminations=[False, True, False], truncations=[False, False, True], columns={"costs": [0.0, 1.0, 0.0]})
    >>> path = Path(tempfile.mkdtemp(), "example.hdf5")
    >>> write(dataset, path)
    >>> read(path) == dataset
    True
    """
    needed = [name for name in NEEDED if name not in ("observations", "actions", "rewards", "terminals")]
    with open_hdf5(path) as file:
        flat = read_flat(file, needed=needed, source=f"DSRL file {path.name}")
        if not flat.block:
            flat.info = _with_task(flat.info, path.stem)
        return flat.dataset()


def write(dataset: Dataset, path: Path, *, overwrite: bool = False) -> None:
    """Write a dataset as a DSRL file.

    Parameters
    ----------
    dataset : Dataset
        With a column `costs`.
    path : Path
    overwrite : bool

    Warns
    -----
    AssayWarning
        Once, naming what is left out.

    Raises
    ------
    DatasetError
        If there are no costs, observations or actions are nested, episodes are not told apart by their flags, or a
        final observation is unknown.
    """
    if "costs" not in dataset.columns:
        raise DatasetError('DSRL needs a column costs, which this dataset does not have; format="d4rl" does without')
    if dataset.column("costs").ndim != 1:
        raise DatasetError(f"DSRL holds one cost per step; column costs is of shape {dataset.column('costs').shape}")
    write_flat(dataset, path, overwrite=overwrite, name="DSRL", columns={"costs": "costs"}, next_needed=True)


def _with_task(info: DatasetInfo, file_name: str) -> DatasetInfo:
    match = _NAME.fullmatch(file_name)
    if match is None or match[1] not in EPISODE_RANGES:
        return info
    task, (low, high, low_cost, high_cost) = match[1], EPISODE_RANGES[match[1]]
    source = f"DSRL's range of returns for {task} (lowest {low:g}, highest {high:g}; dsrl/infos.py)"
    return replace(
        info,
        id=f"dsrl/{task}",
        reference_scores=ReferenceScores(low, high, source),
        licence="CC-BY-4.0",
        extra={**info.extra, "episode_cost_range": [low_cost, high_cost]},
    )


# Lowest and highest return, lowest and highest cost of an episode (liuzuxin/DSRL, dsrl/infos.py).
EPISODE_RANGES: dict[str, tuple[float, float, float, float]] = {
    "AntCircle": (0.0177031010389328, 460.7091979980469, 0.0, 200.0),
    "AntRun": (0.001767391717990563, 955.4818725585938, 0.0, 150.0),
    "BallCircle": (0.38312244415283203, 881.46337890625, 0.0, 80.0),
    "BallRun": (26.339754104614258, 1327.445556640625, 0.0, 80.0),
    "CarCircle": (3.484419822692871, 534.3060913085938, 0.0, 100.0),
    "CarRun": (204.28726196289062, 574.6533203125, 0.0, 40.0),
    "DroneCircle": (207.794189453125, 996.38916015625, 0.0, 100.0),
    "DroneRun": (10.557029724121094, 682.8330078125, 0.0, 140.0),
    "CarButton1": (0.0028926206826067613, 44.420003345738984, 0.0, 250.0),
    "CarButton2": (0.001767391717990563, 41.99513815522894, 0.0, 300.0),
    "CarCircle1": (8.037073135375977, 24.94155502319336, 0.0, 250.0),
    "CarCircle2": (5.113386154174805, 25.950098037719727, 0.0, 398.0),
    "CarGoal1": (0.012232819540852091, 39.907809198384705, 0.0, 120.0),
    "CarGoal2": (0.001032874531954775, 28.902897990056502, 0.0, 200.0),
    "CarPush1": (0.013700173533941762, 16.304467598905237, 0.0, 200.0),
    "CarPush2": (0.00029391133526335267, 15.141648491514314, 0.0, 250.0),
    "PointButton1": (0.008822109034937853, 41.19301568767707, 0.0, 200.0),
    "PointButton2": (0.014114166087574098, 42.8985953616709, 0.0, 250.0),
    "PointCircle1": (20.067626953125, 61.72819519042969, 0.0, 200.0),
    "PointCircle2": (20.478347778320312, 54.02184295654297, 0.0, 299.0),
    "PointGoal1": (0.01196012764197707, 30.071114857340543, 0.0, 100.0),
    "PointGoal2": (0.002616959830266108, 27.717709787852737, 0.0, 200.0),
    "PointPush1": (0.0014001545292344209, 16.518654299293367, 0.0, 150.0),
    "PointPush2": (0.0012438183001730607, 14.691039145644403, 0.0, 200.0),
    "AntVelocity": (6.1519012451171875, 2976.276611328125, 0.0, 250.0),
    "HalfCheetahVelocity": (5.7509765625, 2806.93310546875, 0.0, 250.0),
    "HopperVelocity": (37.05154800415039, 1911.396728515625, 0.0, 250.0),
    "SwimmerVelocity": (0.07114458084106445, 238.95831298828125, 0.0, 200.0),
    "Walker2dVelocity": (18.668498992919922, 3418.223876953125, 0.0, 300.0),
    "easysparse": (20.094310760498047, 425.8006286621094, 0.00025356505648232996, 82.42418670654297),
    "easymean": (22.142553329467773, 425.82440185546875, 0.0, 82.38601684570312),
    "easydense": (19.71139144897461, 425.81732177734375, 0.0, 80.36358642578125),
    "mediumsparse": (17.446578979492188, 269.80084228515625, 0.0, 46.46459197998047),
    "mediummean": (17.032529830932617, 269.8221435546875, 0.0, 46.46154022216797),
    "mediumdense": (15.102348327636719, 269.7813415527344, 0.0, 46.45858383178711),
    "hardsparse": (17.247974395751953, 486.80523681640625, 0.0, 85.010009765625),
    "hardmean": (19.387981414794922, 486.9967956542969, 0.00033149970113299787, 84.33995056152344),
    "harddense": (15.386894226074219, 486.63616943359375, 0.0, 84.76679229736328),
}
