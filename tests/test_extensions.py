"""A stranger's algorithm, transform, metric and format work through every door, as docs/extending.md has them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import assay

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "extending.md"
PYTHON_FILES = ("my_method.py", "my_transform.py", "my_metric.py", "my_format.py")

USE_ALL = """
import sys, tempfile
from pathlib import Path
import numpy as np
import assay
from assay.baselines import Evaluation, Job, algorithm_named, algorithms, train
from assay.datasets.formats import known_formats
from assay.datasets.registry import import_file
from assay.datasets.transform import make_transform
from assay.metrics import assess

for file in sys.argv[1:]:
    import_file(file)
folder = Path(tempfile.mkdtemp())
dataset = assay.load("pendulum/random", steps=400)
clipped = make_transform("mine.clip_rewards", {"limit": 2.0})(dataset)
assert np.array_equal(clipped.rewards, np.clip(dataset.rewards, -2.0, 2.0))
assert assay.replay(clipped.history) == clipped
energy = assess(dataset, select=["action_energy"]).row(0, named=True)
assert energy["value"] == np.square(dataset.actions).mean() and energy["source"] == "Mean of the squared actions."
assert assess(dataset)["metric"].to_list()[-1] == "action_energy"
assert known_formats()[-1] == "steps"
assay.save(dataset, folder / "data.steps", format="steps")
back = assay.load(folder / "data.steps")
assert back.rewards.tolist() == dataset.rewards.tolist() and back.episode_lengths.tolist() == dataset.episode_lengths.tolist()
assert algorithms()["huber_bc"].values_for(dataset) == {"delta": 0.25}
job = Job(algorithm_named("huber_bc", {"hidden": [8], "delta": 0.1}), dataset)
run, = train([job], steps=3, runs=folder, evaluation=Evaluation(episodes=1), workers=0)
assert run.status == "finished", run.error
assert run.policy(dataset.observations[:2]).shape == (2, 1)
print("all doors are open")
"""


def blocks() -> dict[str, str]:
    """Return the code blocks of the page that begin with a file's name, by that name."""
    found = {}
    for language, text in re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        name, _, content = text.partition("\n")
        found[name.removeprefix("# ").removeprefix("// ")] = content if language == "json" else text
    return found


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the page's files and a small dataset, outside of the repository."""
    folder = tmp_path / "own"
    folder.mkdir()
    assay.save(assay.load("pendulum/random", steps=400), folder / "data")
    for name, content in blocks().items():
        (folder / name).write_text(content)
    return folder


def python(*arguments: object, path: Path = ROOT, status: int = 0, folder: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder or path, env=environment, capture_output=True, text=True)
    text = done.stdout + done.stderr
    assert done.returncode == status, text
    return re.sub(r"\s+", " ", text)


def commands(*lines: str, folder: Path) -> list[tuple[str, int]]:
    """Run command lines one after the other in a process of their own; return what each printed, and its exit status."""
    code = (
        "import sys\n"
        "from assay.cli import main\n"
        "for line in sys.argv[1:]:\n"
        "    status = 0\n"
        "    try:\n"
        "        main(line.split())\n"
        "    except SystemExit as end:\n"
        "        status = end.code\n"
        "    print(f'<status {status}>', flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *lines]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=folder, env=environment, text=True, **streams)
    parts = re.findall(r"(.*?)<status (\d+)>", re.sub(r"\s+", " ", done.stdout))
    assert len(parts) == len(lines), done.stdout
    return [(text, int(status)) for text, status in parts]


def test_the_page_has_one_file_of_each_kind_and_a_stranger_writes_at_most_fifty_lines():
    files = blocks()
    assert {*PYTHON_FILES, "my_method.json", "my_suite.yaml", "pyproject.toml"} == set(files)
    for name in PYTHON_FILES:
        assert len(files[name].splitlines()) <= 50, name


@pytest.mark.slow
def test_from_python_they_work_once_their_files_are_imported(own):
    files = [own / name for name in PYTHON_FILES]
    assert "all doors are open" in python("-c", USE_ALL, *files, *files)  # twice is once
    assert "unknown transform 'mine.clip_rewards'" in python("-c", USE_ALL, status=1)


def test_from_the_command_line_they_work_with_import(own):
    train = "train data --algorithm huber_bc --set hidden=[8] --steps 3 --episodes 1 --workers 0"
    ran = commands(
        "apply data mine.clip_rewards limit=2 -o clipped",
        "apply data mine.clip_rewards limit=2 -o clipped --import my_transform.py",
        "metrics clipped -s action_energy",
        "metrics clipped -s action_energy --import=my_metric.py",
        "datasets convert clipped clipped.steps --format steps",
        "--import my_format.py datasets convert clipped clipped.steps --format steps",
        "validate clipped.steps --import my_format.py --import my_metric.py",
        train,
        f"{train} --import my_method.py",
        folder=own,
    )
    assert [status for _, status in ran] == [1, 0, 1, 0, 1, 0, 0, 1, 0], ran
    for number, message in {
        0: "unknown transform 'mine.clip_rewards'",
        1: "written to clipped",
        2: "unknown metric 'action_energy'",
        3: "squared action",
        4: "unknown format 'steps'",
        5: "written to clipped.steps as steps",
        6: "read as steps",
        7: "unknown algorithm 'huber_bc'",
        8: "finished",
    }.items():
        assert message in ran[number][0]


@pytest.mark.slow
def test_a_run_says_which_file_its_algorithm_needs(own):
    train = "train data --algorithm huber_bc --set hidden=[8] --steps 3 --episodes 0 --runs runs --import my_method.py"
    ((text, status),) = commands(train, folder=own)
    assert status == 0, text
    (folder,) = (own / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["imports"] == [str(own / "my_method.py")]
    evaluate = "evaluate runs --dataset data --steps 3"
    without, with_it = commands(evaluate, f"{evaluate} --import my_method.py", folder=own)
    assert "unknown algorithm 'huber_bc'" in without[0]
    assert f"pass --import {own / 'my_method.py'}" in without[0]
    assert with_it[1] == 0
    assert "Huber BC" in with_it[0]
    act = f"from assay.baselines import Run; import numpy as np; Run({str(folder)!r}).policy(np.zeros((1, 3)))"
    assert f"pass --import {own / 'my_method.py'}" in python("-c", act, status=1)


def test_from_a_suite_they_work_with_imports_relative_to_its_file(own, tmp_path):
    import polars as pl

    shutil.copy(own / "my_suite.yaml", own / "other.yaml")
    (own / "other.yaml").write_text(blocks()["my_suite.yaml"].replace("my_metric.py", "my_metrik.py"))
    run = f"run {own}/my_suite.yaml --budget smoke --workers 0 --runs runs"
    wrong, right = commands(run.replace("my_suite", "other"), run, folder=tmp_path)
    assert wrong[1] == 1
    assert "other.yaml: imports:" in wrong[0]
    assert "my_metrik.py does not exist" in wrong[0]
    assert right[1] == 0, right[0]
    quality = pl.read_parquet(tmp_path / "runs" / "quality.parquet")
    assert quality.filter(pl.col("metric") == "action_energy").height == 2
    stored = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/run.json")]
    assert [(run["status"], run["job"]["label"]) for run in stored] == [("finished", "Huber BC")] * 2
    assert [run["job"]["parameters"]["delta"] for run in stored] == [0.25, 0.25]
    assert all(str(own / "my_method.py") in run["imports"] for run in stored)


def test_dropped_into_the_folders_of_the_package_they_are_found(own, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "assay", copy / "assay", ignore=shutil.ignore_patterns("__pycache__"))
    rooms = {"my_method.py": "baselines/algorithms/imitation", "my_transform.py": "corruption/repair"}
    rooms |= {"my_method.json": "baselines/algorithms/imitation", "my_metric.py": "metrics"}
    for name, room in rooms.items():
        shutil.copy(own / name, copy / "assay" / room / name)
    module = (own / "my_format.py").read_text().replace('register_format("steps", sys.modules[__name__])\n', "")
    (copy / "assay" / "datasets" / "formats" / "steps.py").write_text(module + "\nORDER = 500\n")
    assert "all doors are open" in python("-c", USE_ALL, path=copy)


def test_a_format_that_registers_itself_may_lie_in_the_folder_too(own, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "assay", copy / "assay", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(own / "my_format.py", copy / "assay" / "datasets" / "formats" / "steps.py")
    code = "from assay.datasets.formats import known_formats; print(known_formats().count('steps'))"
    assert python("-c", code, path=copy).strip() == "1"


def test_an_installed_package_brings_them_by_entry_points(own, tmp_path):
    project, site = tmp_path / "project", tmp_path / "site"
    (project / "my_plugin").mkdir(parents=True)
    for name in (*PYTHON_FILES, "my_method.json"):
        shutil.copy(own / name, project / "my_plugin" / name)
    (project / "my_plugin" / "__init__.py").touch()
    shutil.copy(own / "pyproject.toml", project)
    install = ["-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation", "--no-deps"]
    python(*install, "--target", site, project, folder=tmp_path)
    both = os.pathsep.join([str(site), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": both}
    done = subprocess.run(
        [sys.executable, "-c", USE_ALL], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "all doors are open" in done.stdout, done.stderr
    (site / "my_plugin" / "my_metric.py").write_text("import nothing_of_this_name")
    warned = "import assay.metrics.measures as m; print(len(m.groups()))"
    done = subprocess.run([sys.executable, "-c", warned], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert int(done.stdout) == 16
    assert "the entry point 'my_metric' of assay.metrics" in done.stderr


def test_simulator_workers_know_the_environments_of_an_imported_file(tmp_path):
    (tmp_path / "my_world.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gymnasium.register('own/World-v0', entry_point=CartPoleEnv, max_episode_steps=10)\n"
    )
    code = (
        "import sys, numpy as np\n"
        "from assay.datasets.environments.pool import EnvironmentPool\n"
        "from assay.datasets.registry import import_file\n"
        "import_file(sys.argv[1])\n"
        "with EnvironmentPool('own/World-v0', 2, workers=2) as pool:\n"
        "    print(pool.workers, pool.observation_space.shape)\n"
    )
    assert python("-c", code, tmp_path / "my_world.py").strip() == "2 (4,)"


def test_a_population_of_an_imported_algorithm_crosses_to_another_process_by_name(own):
    code = (
        "import sys\n"
        "import assay\n"
        "from assay.baselines import Job, algorithm_named\n"
        "from assay.baselines.training.cluster import _ColumnStore, _take\n"
        "from assay.datasets.registry import import_file\n"
        "import_file(sys.argv[1])\n"
        "class Here:\n"
        "    put = get = staticmethod(lambda value: value)\n"
        "job = Job(algorithm_named('huber_bc', {'delta': 0.1}), assay.load('pendulum/random', steps=400))\n"
        "sent = _ColumnStore(Here).put(job)\n"
        "assert sent['algorithm'][0] == 'huber_bc' and sent['algorithm'][1]['delta'] == 0.1\n"
        "assert _take(Here, sent).algorithm == job.algorithm\n"
        "print('the same')\n"
    )
    assert "the same" in python("-c", code, own / "my_method.py")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("raise RuntimeError('no')", "RuntimeError: no (line 1)"),
        ("def f(:", "SyntaxError"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        (
            "from assay.metrics import register_metric\n@register_metric('size', unit='x')\ndef size(dataset):\n    return 1",
            "two modules define the group of metrics 'size'",
        ),
        (
            "from assay.metrics import register_metric\n@register_metric('mine', unit='x')\ndef mine(dataset):\n    return 'x'",
            "metric mine returned 'x'; expected a number",
        ),
    ],
)
def test_a_file_that_is_wrong_is_one_line_that_names_it(own, content, message):
    (own / "wrong.py").write_text(content)
    select = "mine" if "mine" in content else "size"
    ((text, status),) = commands(f"metrics data -s {select} --import wrong.py", folder=own)
    assert status == 1
    assert message in text
    assert "Traceback" not in text


def test_import_wants_a_file_that_is_there(own):
    absent, other, none = commands(
        "metrics data --import absent.py",
        "metrics data --import my_suite.yaml",
        "datasets list --import",
        folder=own,
    )
    assert [absent[1], other[1], none[1]] == [1, 1, 2]
    assert "absent.py does not exist" in absent[0]
    assert "expected a Python file" in other[0]
    assert "is not followed by a file" in none[0]
