"""Curves for Weights & Biases, online or offline."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.datasets.errors import ConfigError

if TYPE_CHECKING:
    from assay.baselines.runs.run import Run

__all__ = ["WeightsAndBiases"]

_ID_LENGTH = 32  # of the job's hash; W&B takes up to 64 characters


class WeightsAndBiases:
    """One W&B run per run folder; its id is the hash of the job, so a resumed run goes on in the same curves.

    Curves have the update as their horizontal axis, under `training/` and `evaluation/`. Where W&B keeps its files:
    `<runs>/wandb`. W&B's own environment variables hold: WANDB_PROJECT (default `assay`), WANDB_ENTITY, and WANDB_MODE.
    With `WANDB_MODE=offline` nothing touches the network; `wandb sync` uploads later. An offline directory holds its run
    from the first update on, so that of an interrupted attempt is removed when the run resumes.

    Raises
    ------
    ConfigError
        If W&B is not installed, or is to be used online and no API key is known; nothing is ever asked for.
    """

    def __init__(self) -> None:
        if find_spec("wandb") is None:
            raise ConfigError("Weights & Biases is not installed: pip install 'assay[wandb]'")
        if os.environ.get("WANDB_MODE", "online") == "online":
            import wandb

            if not wandb.login(prompt=False, verify=False):
                raise ConfigError(
                    "Weights & Biases has no API key: run `wandb login`, or set WANDB_MODE=offline to upload later "
                    "with `wandb sync`"
                )
        self._opened: dict[Path, Any] = {}
        self._known: dict[tuple[Path, str], int] = {}  # last update that the server has, by run and kind

    def start(self, run: Run) -> None:
        """Open the run, or go on with it."""
        import wandb

        identifier = run.description["hash"][:_ID_LENGTH]
        root = run.folder.parent
        for earlier in (root / "wandb").glob(f"offline-run-*-{identifier}"):
            shutil.rmtree(earlier)
        job = run.description["job"]
        opened = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "assay"),
            dir=root,
            id=identifier,
            name=run.folder.name,
            group=f"{job['label']} on {job['variant']}",
            config={"job": job, "dataset": run.description["dataset"]["fingerprint"]},
            resume="allow",
            settings=wandb.Settings(
                console="off",
                silent=True,
                reinit="create_new",  # the runs of a population are open at the same time
                x_disable_stats=True,
                disable_git=True,
                save_code=False,
            ),
        )
        for kind in ("training", "evaluation"):
            opened.define_metric(f"{kind}/*", step_metric=f"{kind}/update")
            self._known[run.folder, kind] = opened.summary.get(f"{kind}/update", -1)  # type: ignore[no-untyped-call]
        self._opened[run.folder] = opened

    def log(self, run: Run, kind: str, update: int, metrics: Mapping[str, float]) -> None:
        """Hand the numbers to W&B's own process."""
        if update > self._known[run.folder, kind]:
            named = {f"{kind}/{name}": value for name, value in metrics.items()}
            self._opened[run.folder].log({f"{kind}/update": update, **named})

    def close(self) -> None:
        """Finish the open runs, which waits for their upload."""
        for opened in self._opened.values():
            opened.finish()
        self._opened.clear()
