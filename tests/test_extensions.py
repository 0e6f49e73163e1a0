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


def command(*arguments: object, folder: Path, status: int = 0) -> str:
    return python("-m", "assay.cli", *arguments, folder=folder, status=status)


def test_the_page_has_one_file_of_each_kind_and_a_stranger_writes_at_most_fifty_lines():
    files = blocks()
    assert {*PYTHON_FILES, "my_method.json", "my_suite.yaml", "pyproject.toml"} == set(files)
    for name in PYTHON_FILES:
        assert len(files[name].splitlines()) <= 50, name


def test_from_python_they_work_once_their_files_are_imported(own):
    files = [own / name for name in PYTHON_FILES]
    assert "all doors are open" in python("-c", USE_ALL, *files, *files)  # twice is once
    assert "unknown transform 'mine.clip_rewards'" in python("-c", USE_ALL, status=1)


def test_from_the_command_line_they_work_with_import(own):
    imports = [item for name in PYTHON_FILES for item in ("--import", name)]
    text = command("apply", "data", "mine.clip_rewards", "limit=2", "-o", "clipped", *imports, folder=own)
    assert "written to clipped" in text
    listed = command("metrics", "clipped", "-s", "action_energy", "--import=my_metric.py", folder=own)
    assert "action_energy" in listed
    assert "squared action" in listed
    command("datasets", "convert", "clipped", "clipped.steps", "--format", "steps", *imports, folder=own)
    assert "read as steps" in command("--import", "my_format.py", "validate", "clipped.steps", folder=own)
    train = ("train", "clipped", "--algorithm", "huber_bc", "--set", "hidden=[8]", "--steps", 3, "--episodes", 1)
    assert "unknown algorithm 'huber_bc'" in command(*train, folder=own, status=1)
    assert "finished" in command(*train, "--import", "my_method.py", folder=own)


def test_a_run_says_which_file_its_algorithm_needs(own):
    options = ("--algorithm", "huber_bc", "--set", "hidden=[8]", "--steps", 3, "--episodes", 0, "--runs", "runs")
    command("train", "data", *options, "--import", "my_method.py", folder=own)
    (folder,) = (own / "runs").iterdir()
    assert json.loads((folder / "run.json").read_text())["imports"] == [str(own / "my_method.py")]
    act = f"from assay.baselines import Run; import numpy as np; print(Run({str(folder)!r}).policy(np.zeros((1, 3))))"
    text = python("-c", act, status=1)
    assert "unknown algorithm 'huber_bc'" in text
    assert f"pass --import {own / 'my_method.py'}" in text
    again = ("evaluate", "runs", "--dataset", "data", "--steps", 3, "--import", "my_method.py")
    assert "Huber BC" in command(*again, folder=own)


def test_from_a_suite_they_work_with_imports_relative_to_its_file(own, tmp_path):
    run = ("run", own / "my_suite.yaml", "--budget", "smoke", "--workers", 0, "--runs", tmp_path / "runs")
    text = command(*run, folder=tmp_path)
    assert text.count("Huber BC") == 2
    import polars as pl

    quality = pl.read_parquet(tmp_path / "runs" / "quality.parquet")
    assert quality.filter(pl.col("metric") == "action_energy").height == 2
    (stored, _) = (json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/run.json"))
    assert stored["job"]["parameters"]["delta"] == 0.25
    (own / "my_suite.yaml").write_text(blocks()["my_suite.yaml"].replace("my_metric.py", "my_metrik.py"))
    text = command(*run, folder=tmp_path, status=1)
    assert "my_suite.yaml: imports:" in text
    assert "my_metrik.py does not exist" in text


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
    text = command("metrics", "data", "-s", select, "--import", "wrong.py", folder=own, status=1)
    assert message in text
    assert "Traceback" not in text


def test_import_wants_a_file_that_is_there(own):
    assert "absent.py does not exist" in command("metrics", "data", "--import", "absent.py", folder=own, status=1)
    assert "expected a Python file" in command("metrics", "data", "--import", "my_suite.yaml", folder=own, status=1)
    assert "is not followed by a file" in command("datasets", "list", "--import", folder=own, status=2)
