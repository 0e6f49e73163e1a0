"""Former names of modules: they import what is now elsewhere, and warn, for one release."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import cast

__all__ = ["MOVED", "install"]

MOVED = {
    "assay.analysis.dataset_figures": "assay.analysis.figures",
    "assay.baselines.acting": "assay.baselines.engine.acting",
    "assay.baselines.algorithms.awac": "assay.baselines.algorithms.actor_critic.awac",
    "assay.baselines.algorithms.bc": "assay.baselines.algorithms.imitation.bc",
    "assay.baselines.algorithms.cql": "assay.baselines.algorithms.actor_critic.cql",
    "assay.baselines.algorithms.decision_transformer": "assay.baselines.algorithms.sequence.decision_transformer",
    "assay.baselines.algorithms.edac": "assay.baselines.algorithms.actor_critic.edac",
    "assay.baselines.algorithms.iql": "assay.baselines.algorithms.actor_critic.iql",
    "assay.baselines.algorithms.percent_bc": "assay.baselines.algorithms.imitation.percent_bc",
    "assay.baselines.algorithms.policies": "assay.baselines.algorithms.distributions",
    "assay.baselines.algorithms.rebrac": "assay.baselines.algorithms.actor_critic.rebrac",
    "assay.baselines.algorithms.riql": "assay.baselines.algorithms.actor_critic.riql",
    "assay.baselines.algorithms.sac_n": "assay.baselines.algorithms.actor_critic.sac_n",
    "assay.baselines.algorithms.td3_bc": "assay.baselines.algorithms.actor_critic.td3_bc",
    "assay.baselines.batches": "assay.baselines.engine.batches",
    "assay.baselines.cluster": "assay.baselines.training.cluster",
    "assay.baselines.data": "assay.baselines.engine.data",
    "assay.baselines.dry_run": "assay.baselines.training.dry_run",
    "assay.baselines.evaluator": "assay.baselines.evaluation.evaluator",
    "assay.baselines.grouping": "assay.baselines.training.grouping",
    "assay.baselines.live_table": "assay.baselines.training.live_table",
    "assay.baselines.logging": "assay.baselines.training.logging",
    "assay.baselines.logging.logger": "assay.baselines.training.logging.logger",
    "assay.baselines.logging.tensorboard": "assay.baselines.training.logging.tensorboard",
    "assay.baselines.logging.wandb": "assay.baselines.training.logging.wandb",
    "assay.baselines.observation_noise": "assay.baselines.evaluation.observation_noise",
    "assay.baselines.off_policy": "assay.baselines.evaluation.off_policy",
    "assay.baselines.online": "assay.baselines.behaviour",
    "assay.baselines.online.checkpoints": "assay.baselines.behaviour.checkpoints",
    "assay.baselines.online.dqn": "assay.baselines.behaviour.dqn",
    "assay.baselines.online.interaction": "assay.baselines.behaviour.interaction",
    "assay.baselines.online.random_search": "assay.baselines.behaviour.random_search",
    "assay.baselines.online.sac": "assay.baselines.behaviour.sac",
    "assay.baselines.online.train_actors": "assay.baselines.behaviour.train_actors",
    "assay.baselines.online.train_policies": "assay.baselines.behaviour.train_policies",
    "assay.baselines.optimizer": "assay.baselines.networks.optimizer",
    "assay.baselines.population": "assay.baselines.engine.population",
    "assay.baselines.progress": "assay.baselines.training.progress",
    "assay.baselines.randomness": "assay.baselines.engine.randomness",
    "assay.baselines.sizing": "assay.baselines.training.sizing",
    "assay.baselines.suite": "assay.baselines.suites.suite",
    "assay.baselines.transformer": "assay.baselines.networks.transformer",
    "assay.baselines.victim": "assay.baselines.training.run_victim",
    "assay.baselines.work": "assay.baselines.training.work",
    "assay.corruption.columns": "assay.corruption.shared.elements",
    "assay.corruption.descent": "assay.corruption.attacks.descent",
    "assay.corruption.input_gradients": "assay.corruption.attacks.input_gradients",
    "assay.corruption.pieces": "assay.corruption.shared.pieces",
    "assay.corruption.sensors": "assay.corruption.shared.sensors",
    "assay.corruption.steps": "assay.corruption.shared.steps",
    "assay.corruption.victim": "assay.corruption.attacks.victim",
    "assay.datasets.collection.behaviour": "assay.datasets.collection.exploration",
    "assay.datasets.collection.environments": "assay.datasets.environments.pool",
    "assay.datasets.collection.envpool_environments": "assay.datasets.environments.envpool",
    "assay.datasets.collection.minatar_tasks": "assay.datasets.environments.minatar",
    "assay.datasets.collection.minigrid_tasks": "assay.datasets.environments.minigrid",
    "assay.datasets.collection.planners": "assay.datasets.environments.planners",
    "assay.datasets.collection.returns": "assay.datasets.collection.policy_returns",
    "assay.datasets.kept": "assay.datasets.variant_cache",
    "assay.datasets.collection.tasks": "assay.datasets.environments.tasks",
    "assay.datasets.collection.worker": "assay.datasets.environments.worker",
    "assay.datasets.formats.hdf5_chunks": "assay.datasets.formats.containers.hdf5_chunks",
    "assay.datasets.formats.hdf5_file": "assay.datasets.formats.containers.hdf5",
    "assay.datasets.formats.hdf5_safety": "assay.datasets.formats.containers.hdf5_guards",
    "assay.datasets.formats.minari.ipc_safety": "assay.datasets.formats.containers.arrow",
    "assay.datasets.formats.npz_file": "assay.datasets.formats.containers.npz",
    "assay.datasets.formats.parquet_file": "assay.datasets.formats.containers.parquet",
    "assay.datasets.formats.parquet_safety": "assay.datasets.formats.containers.parquet_safety",
    "assay.datasets.randomness": "assay.datasets.generators",
    "assay.datasets.sampling.columns": "assay.datasets.sampling.gathering",
    "assay.datasets.sampling.episodes": "assay.datasets.sampling.episode_batches",
    "assay.datasets.sampling.sequences": "assay.datasets.sampling.sequence_batches",
    "assay.datasets.sampling.transitions": "assay.datasets.sampling.transition_batches",
}
"""Former name -> name, of modules."""


class _Alias(Loader):
    """Loads a module under its former name: the very same module object."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name = MOVED[spec.name]
        warnings.warn(f"{spec.name} is now {name}; the former name goes with the next release", DeprecationWarning, 2)
        module = import_module(name)
        self._spec = module.__spec__
        return module

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the module's code, for `python -m` with the former name."""
        spec = find_spec(MOVED[fullname])
        return None if spec is None or spec.loader is None else cast(InspectLoader, spec.loader).get_code(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own specification back; it has run under its own name."""
        module.__spec__ = self._spec


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Alias()) if fullname in MOVED else None


def install() -> None:
    """Make the former names importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # before a package that has moved finds its modules a second time
