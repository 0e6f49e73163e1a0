"""Ray: the same populations and the same bytes as a local run, also when a node is lost while it trains."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from assay.baselines import BC, TD3BC, Evaluation, Job, Run, TrainingProgress, train
from assay.baselines.training.cluster import _cores_per_population, _train
from assay.datasets.errors import ConfigError
from tests.baselines.problems import pendulum_like

ROOT = Path(__file__).parents[3]
SMALL = {"hidden": (16, 16), "batch_size": 32}
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(autouse=True)
def one_cluster_at_a_time(session_folder: Path) -> Iterator[None]:
    """Keep the other test processes from starting a cluster meanwhile: `"auto"` finds any one on this machine."""
    with FileLock(session_folder / "ray.lock"):
        yield


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Two nodes on this machine, with one core each: the driver's and another."""
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    made.add_node(**NODE)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Train here as on a node with one core."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Occupant:
    """Holds the core of the driver's node."""

    def wait(self) -> str:
        return "there"


def occupy_the_drivers_node() -> object:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    occupant = ray.remote(Occupant).options(num_cpus=1, scheduling_strategy=here).remote()
    assert ray.get(occupant.wait.remote()) == "there"
    return occupant


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("one_thread")
def test_a_cluster_that_loses_a_node_while_it_trains_gives_the_bytes_of_a_local_run(cluster, tmp_path):
    import ray

    broken = pendulum_like().replace({"actions": np.full((200, 1), np.nan)})
    jobs = [Job(TD3BC(**SMALL), pendulum_like(), seed) for seed in (0, 1)]
    jobs += [Job(BC(**SMALL), pendulum_like()), Job(BC(**SMALL), broken)]
    options = {"steps": 3000, "checkpoint_seconds": 0.1, "workers": 0}
    options["evaluation"] = Evaluation(episodes=1, every=1500)
    local = train(jobs, runs=tmp_path / "local", **options)

    ray.init(cluster.address)
    occupant = occupy_the_drivers_node()  # so populations can train on the other node only, one after the other
    first, other = tmp_path / "ray" / local[0].folder.name, cluster.list_all_nodes()[-1]
    lost_at: list[int] = []
    reports: list[TrainingProgress] = []

    def lose_the_node(report: TrainingProgress) -> None:
        reports.append(report)
        if not lost_at and report.population == 0 and 1000 <= report.update < 2000:
            cluster.remove_node(other, allow_graceful=False)
            lost_at.append(Run(first).read_checkpoint(Run(first).checkpoints()[-1])[0].update)
            ray.kill(occupant)
            reports.clear()

    remote = train(jobs, runs=tmp_path / "ray", ray=cluster.address, progress=lose_the_node, **options)
    assert other not in cluster.list_all_nodes()
    assert 0 < lost_at[0] < 3000
    resumed = [report.update for report in reports if report.population == 0]
    assert min(resumed) >= lost_at[0], "the population went on from its checkpoint"
    assert max(resumed) == 3000
    for left, right in zip(local[:3], remote[:3]):
        assert (left.status, right.status) == ("finished", "finished"), right.error
        assert left.folder.name == right.folder.name
        for name in ("policy.safetensors", "returns.parquet"):
            assert (left.folder / name).read_bytes() == (right.folder / name).read_bytes()
    assert local[3].status == remote[3].status == "failed"
    assert local[3].error == remote[3].error
    assert remote[0].description["hardware"] == local[0].description["hardware"]

    ray.shutdown()  # given again, it connects by itself and trains what failed only
    again: list[TrainingProgress] = []
    train(jobs, runs=tmp_path / "ray", ray=cluster.address, progress=again.append, **options)
    assert {(report.populations, report.members, report.ended) for report in again} == {(1, 1, True)}


@pytest.mark.parametrize(
    ("nodes", "populations", "on_gpu", "cores"),
    [
        ([16, 16], 2, False, 16),
        ([16, 16], 3, False, 8),  # 10 would leave the third waiting: 16 // 10 = 1 on each node
        ([16, 4], 5, False, 4),  # 4 on the first node, 1 on the second
        ([2, 2], 100, False, 1),
        ([(4, 0), (64, 8), (48, 8)], 3, True, 6),  # a GPU's share of the cores, on the smaller of the nodes with GPUs
        ([(4, 0)], 3, True, 1),
    ],
)
def test_cores_are_shared_so_that_all_populations_run_at_the_same_time(nodes, populations, on_gpu, cores):
    def resources(node: object) -> dict[str, float]:
        return {"CPU": node[0], "GPU": node[1]} if isinstance(node, tuple) else {"CPU": node}

    described = [{"Alive": True, "Resources": resources(node)} for node in nodes]
    described.append({"Alive": False, "Resources": {"CPU": 1024, "GPU": 1}})
    assert _cores_per_population(described, populations, on_gpu=on_gpu) == cores


def test_a_node_that_does_not_see_the_runs_says_so(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(Exception, match=r"does not see .*nowhere; runs= must be a folder that all nodes share"):
        _train([], [], [tmp_path / "nowhere"], {}, 1, 0, None)


def test_without_ray_or_a_cluster_nothing_is_written(tmp_path, monkeypatch):
    def attempt(message: str, **options: object) -> None:
        with pytest.raises(ConfigError, match=message):
            train([Job(BC(), pendulum_like())], steps=1, runs=tmp_path / "runs", evaluation=None, **options)
        assert not (tmp_path / "runs").exists()

    with monkeypatch.context() as without:
        without.setitem(sys.modules, "ray", None)
        attempt(r"pip install 'assay\[ray\]'", ray="auto")
    pytest.importorskip("ray")
    attempt("Ray chooses the device", ray="auto", device="cuda:1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    attempt("no Ray cluster at 'auto'", ray="auto")
