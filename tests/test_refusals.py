"""What the operating system refuses, and input without end, is one line with the path and the reason: no traceback."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import assay
from assay.cli import main
from assay.cli.application import COMMANDS
from assay.cli.misuse import suggestions
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError, StorageError
from assay.datasets.yaml_reader import LARGEST_FILE, parse_yaml, read_yaml

ROOT = Path(__file__).parent.parent
WRITERS = {
    "corrupt": "corrupt data -e rewards -o OUT",
    "apply": "apply data corruption.random element=rewards -o OUT",
    "augment": "augment data --method gaussian_noise -o OUT",
    "convert": "datasets convert data OUT",
    "convert to minari": "datasets convert data OUT-v0 --format minari",
    "convert to d4rl": "datasets convert data OUT.hdf5 --format d4rl",
    "collect": "datasets collect pendulum/random --steps 1000 --workers 0 -o OUT",
    "metrics": "metrics data -s size -o OUT.json",
    "card": "card data --random none -o OUT",
    "advise": "advise data --reference data -o OUT",
    "train": "train data --algorithm bc --set hidden=[4] --steps 2 --episodes 0 --runs OUT",
    "run": "run suite.yaml --runs OUT",
    "trial": "trial data half --algorithm bc --set hidden=[4] --steps 2 --seeds 2 --episodes 1 --workers 0 --runs OUT",
    "value": "value data --set hidden=[4] --steps 2 --subsets 24 --seeds 1 --episodes 1 --workers 0 --runs OUT",
    "value to JSON": "value data --set hidden=[4] --steps 2 --subsets 24 --seeds 1 --episodes 1 --workers 0 --runs values --json OUT.json",
    "trial to JSON": "trial pairs --control pendulum/random --json OUT.json",
    "trial to a figure": "trial pairs --control pendulum/random --figure OUT.svg",
    "report": "report runs -o OUT",
    "table": "table runs --metric seconds -o OUT",
    "bibliography": "table runs --metric seconds --bibtex OUT",
    "trim": "datasets trim moving -o OUT",
    "drop": "datasets drop data --episode 0 -o OUT",
    "cut": "datasets cut moving --gap 10 -o OUT",
    "resample": "datasets resample moving --rate 10 -o OUT",
    "split": "datasets split data -o OUT --fraction 0.5 -o OUT2 --fraction 0.5",
    "merge": "datasets merge data data -o OUT",
    "rename": "datasets rename data --variant other -o OUT",
    "reweight": "reweight data score=return -o OUT",
    "relabel actions": "relabel actions data --hide 0.5 --method nearest_neighbour -o OUT",
    "relabel preferences": "relabel preferences data passes=1 hidden=[4] ensemble=1 --pairs 20 -o OUT",
    "relabel progress": "relabel progress moving --column infos/progress -o OUT",
    "progress export": "relabel progress moving --column infos/progress --export OUT_progress.parquet",
    "relabel success": "relabel success moving --least-return 5 updates=2 hidden=[4] -o OUT",
    "validate to JSON": "datasets validate data --json OUT.json",
    "validate to JUnit": "validate data --junit OUT.xml",
    "train a policy": "datasets train-policy Pendulum-v1 --steps 2 -o OUT.json",
}
READERS = {
    "show": "datasets show IN",
    "validate": "validate IN",
    "metrics": "metrics IN",
    "reference": "metrics data --reference IN",
    "apply": "apply IN corruption.random element=rewards -o new",
    "run": "run IN",
    "report": "report IN",
    "serve": "serve IN --no-browser",
    "table": "table IN",
    "evaluate": "evaluate IN --dataset data",
    "import": "metrics data --import IN",
    "collect": "datasets collect IN.json -o new",
    "map": "datasets map IN",
    "convert": "datasets convert IN new",
    "download": "datasets download IN",
    "corrupt": "corrupt IN -e rewards -o new",
    "card": "card IN -o new",
    "advise": "advise IN -o new",
    "advise by evidence": "advise data --evidence IN",
    "train": "train IN --algorithm bc --steps 2 --runs new",
    "trial": "trial IN half --algorithm bc --steps 2 --runs new",
    "trial after": "trial data IN --algorithm bc --steps 2 --runs new",
    "trial of runs": "trial IN --control data",
    "trial of a suite": "trial IN.yaml",
    "value": "value IN --steps 2 --runs new",
    "trim": "datasets trim IN -o new",
    "drop": "datasets drop IN --episode 0 -o new",
    "cut": "datasets cut IN --gap 10 -o new",
    "resample": "datasets resample IN --rate 10 -o new",
    "split": "datasets split IN -o new --fraction 1.0",
    "merge": "datasets merge data IN -o new",
    "rename": "datasets rename IN --variant other -o new",
    "reweight": "reweight IN -o new",
    "relabel actions": "relabel actions IN --hide 0.5 -o new",
    "relabel preferences": "relabel preferences IN -o new",
    "relabel progress": "relabel progress IN --column infos/progress -o new",
    "relabel from a sidecar": "relabel progress data --source IN -o new",
    "relabel success": "relabel success IN --tag a -o new",
}
WITHOUT_A_PATH = {("datasets", "list"), ("datasets", "formats")}
SUITE = """
name: tiny
source: data
variants: {clean: []}
algorithms: {bc: {hidden: [4]}}
evaluation: null
budgets: {small: {steps: 2}}
"""


def moving() -> Dataset:
    """Return two episodes of a joint that moves, with times and progress."""
    step = np.arange(40)
    return Dataset.from_arrays(
        observations=np.sin(np.arange(42) / 3.0)[:, None],
        actions=np.cos(step / 3.0)[:, None],
        rewards=(step >= 20) / 2.0,
        terminations=step % 20 == 19,
        truncations=np.zeros(40, bool),
        columns={"time": (step % 20) / 10.0, "infos/progress": (step % 20) / 19.0},
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, a suite, a finished run and what stands in the way."""
    folder = tmp_path_factory.mktemp("prepared")
    assay.save(assay.load("pendulum/random", steps=400), folder / "data")
    assay.save(assay.load(folder / "data")[:1].named("half"), folder / "half")
    assay.save(moving(), folder / "moving")
    (folder / "suite.yaml").write_text(SUITE)
    (folder / "file").write_text("in the way")
    (folder / "loop").symlink_to("loop")
    before = Path.cwd()
    os.chdir(folder)
    main(
        [
            "train",
            "data",
            "--algorithm",
            "bc",
            "--set",
            "hidden=[4]",
            "--steps",
            "2",
            "--episodes",
            "0",
            "--runs",
            "runs",
        ]
    )
    main(WRITERS["trial"].replace("OUT", "pairs").split())
    with pytest.raises(SystemExit):  # two updates teach nothing that values could predict
        main(WRITERS["value"].replace("OUT", "values").split())
    os.chdir(before)
    return folder


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 1) -> str:
    """Run a command that is refused, and return its error without line breaks; nothing else may be said but warnings."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    captured = capsys.readouterr()
    assert end.value.code == status, captured.out + captured.err
    (error,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in captured.err
    return error


def test_every_command_is_tried():
    lines = [*WRITERS.values(), *READERS.values()]
    tried = {words for words in COMMANDS if any(line.split()[: len(words)] == list(words) for line in lines)}
    assert COMMANDS - tried == WITHOUT_A_PATH


IMPOSSIBLE = {
    "too long": ("n" * 300, "too long"),
    "longer than any path": ("a/" * 3000 + "x", "too long"),
    "below a file": ("file/x", "file"),
    "through a loop": ("loop/x", "loop"),
    "in /proc": ("/proc/x", "/proc/x"),
    "NUL": ("a\0b", "NUL"),
}


@pytest.mark.parametrize("place", IMPOSSIBLE)
@pytest.mark.parametrize("name", WRITERS)
def test_every_command_that_writes_says_why_it_cannot(prepared, monkeypatch, capsys, name, place):
    monkeypatch.chdir(prepared)
    path, reason = IMPOSSIBLE[place]
    before = sorted(prepared.iterdir())
    error = refused(capsys, [word.replace("OUT", path) for word in WRITERS[name].split()])
    assert reason in error
    assert path[:100] in error or "\0" in path
    assert sorted(prepared.iterdir()) == before


@pytest.mark.parametrize("place", [*IMPOSSIBLE, "a loop", "not UTF-8"])
@pytest.mark.parametrize("name", READERS)
def test_every_command_that_reads_says_why_it_cannot(prepared, monkeypatch, capsys, name, place):
    monkeypatch.chdir(prepared)
    path, _ = {**IMPOSSIBLE, "a loop": ("loop", ""), "not UTF-8": ("ok\udcff", "")}[place]
    error = refused(capsys, [word.replace("IN", path) for word in READERS[name].split()])
    assert path[:100] in error or "\0" in path or "\\udcff" in error


@pytest.mark.parametrize("name", ["apply", "convert", "metrics", "card", "report", "train"])
def test_a_path_that_is_not_utf8_is_an_output_like_any_other(prepared, monkeypatch, name, tmp_path):
    monkeypatch.chdir(prepared)
    output = tmp_path / "ok\udcff"
    main([word.replace("OUT", os.fspath(output)) for word in WRITERS[name].split()])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("ok\udcff")]


@pytest.mark.parametrize("name", ["apply", "convert to d4rl", "metrics", "card", "report"])
def test_a_pipe_or_a_device_is_not_replaced_by_a_file(prepared, monkeypatch, capsys, tmp_path, name):
    monkeypatch.chdir(prepared)
    suffix = {"metrics": ".json", "convert to d4rl": ".hdf5"}.get(name, "")
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)
    words = [word.replace("OUT", str(pipe).removesuffix(suffix)) for word in WRITERS[name].split()]
    error = refused(capsys, [*words, *([] if name == "metrics" else ["--overwrite"])])
    assert "a device, a pipe or a socket" in error
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("validate data --json both --junit ./both", "--json and --junit"),
        ("table runs --metric seconds -o both --bibtex ./both", "--output and --bibtex"),
        ("trial pairs --control pendulum/random --json both.svg --figure ./both.svg", "--json and --figure"),
        ("value data --curve 0.5 --json both.svg --figure ./both.svg", "--json and --figure"),
    ],
)
def test_two_outputs_are_not_one_file(prepared, monkeypatch, capsys, line, options):
    monkeypatch.chdir(prepared)
    assert f"cannot be the file of both {options}; name two files" in refused(capsys, line.split())
    assert not [path for path in prepared.iterdir() if path.name.startswith("both")]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_without_permission_is_named(prepared, monkeypatch, capsys, tmp_path, name):
    monkeypatch.chdir(prepared)
    tmp_path.chmod(0o500)
    error = refused(capsys, [word.replace("OUT", str(tmp_path / "new")) for word in WRITERS[name].split()])
    assert "permission denied" in error
    assert str(tmp_path) in error


LIMITED = """
import os, resource, sys
from assay.cli import main
os.chdir(sys.argv[1])
import assay.analysis, assay.baselines, assay.datasets.formats
assay.datasets.formats.known_formats()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
for line in sys.stdin.read().splitlines():
    try:
        main(line.split())
        print("status 0")
    except SystemExit as end:
        print("status", end.code)
    sys.stdout.flush()
"""


@pytest.mark.parametrize("limit", [100, 3000])
def test_a_full_disk_is_one_line_with_the_path_and_leaves_nothing(prepared, tmp_path, limit):
    """A limit on the size of files stands for the disk: writes fail in the middle in the same way."""
    # Those that train have answers of their own, and the others' files are smaller than the larger limit.
    left = {"metrics", "train", "run", "trial", "value", "value to JSON", "train a policy"}
    left |= (
        {
            "table",
            "bibliography",
            "trim",
            "drop",
            "cut",
            "resample",
            "split",
            "relabel progress",
            "progress export",
            "validate to JSON",
            "validate to JUnit",
            "trial to JSON",
        }
        if limit > 1000
        else set()
    )
    names = [name for name in WRITERS if name not in left]
    formats = ["npz", "robomimic", "lerobot", "d3rlpy"]
    lines = [WRITERS[name].replace("OUT", str(tmp_path / f"new-{number}")) for number, name in enumerate(names)]
    lines += [f"datasets convert data {tmp_path}/as-{name} --format {name}" for name in formats]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LIMITED, str(prepared), str(limit)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr  # HDF5 used to crash the process when it ended
    assert done.stdout.count("status 1") == len(lines)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(lines)
    for error in errors:
        assert "the disk is full" in error
        assert str(tmp_path) in error
    assert "Exception ignored" not in done.stderr
    assert len(done.stderr.splitlines()) < 3 * len(lines)
    assert not list(tmp_path.iterdir())


def test_an_hdf5_file_that_could_be_written_holds_what_was_written(tmp_path):
    import h5py

    from assay.datasets.formats.containers.hdf5_writing import create_hdf5

    rows = np.random.default_rng(0).normal(size=(1000, 7))
    with create_hdf5(tmp_path / "own.h5") as file:
        file.create_dataset("rows", data=rows, chunks=(100, 7), compression="gzip")
    with h5py.File(tmp_path / "own.h5") as file:
        assert np.array_equal(file["rows"][:], rows)
    with pytest.raises(ZeroDivisionError), create_hdf5(tmp_path / "other.h5"):
        raise ZeroDivisionError


def test_output_that_nobody_can_take_is_one_line():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "assay.cli", "datasets", "list"]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: the disk is full"


# -------------------------------------------------------------------- YAML


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{above}'] * 10)}]\n" for above, name in zip("abcdefg", "bcdefgh")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 5000, "nested deeper than 50"),
        ("- " * 5000 + "x", "nested deeper than 50"),
        ("{a: " * 5000, "nested deeper than 50"),
        (BOMB, "more than 20,000 values"),
        ("[" + "1," * 30_000 + "]", "more than 20,000 values"),
        ("&a [*a]", "the alias *a stands inside what it names"),
        ("a: 1\nb: 2\na: 3", "the key 'a' occurs twice in one mapping (line 3, column 1)"),
        ("x: {rate: 1, rate: 2}", "the key 'rate' occurs twice"),
        ("{1: a, 1: b}", "the key 1 occurs twice"),
        ("9" * 5000, "is not a YAML file"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("!!set {a}", "could not determine a constructor"),
        ("a: [1", "is not a YAML file"),
        ("a\0b", "is not a YAML file"),
        ("a: 1\n---\nb: 2", "expected a single document"),
    ],
)
def test_yaml_without_end_or_with_a_key_given_twice_is_refused(tmp_path, capsys, text, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_yaml(text, "it")
    (tmp_path / "suite.yaml").write_text(text)
    error = refused(capsys, ["run", str(tmp_path / "suite.yaml")])
    assert message in error
    assert "suite.yaml" in error


def test_files_without_end_are_not_read_to_their_end(tmp_path, capsys):
    assert "larger than 1 MiB" in refused(capsys, ["run", "/dev/zero"])
    (tmp_path / "large.yaml").write_bytes(b"#" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigError, match=r"large\.yaml is not a YAML file of settings: it is larger than 1 MiB"):
        read_yaml(tmp_path / "large.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("1_000", 1000),
        ("0x10", 16),
        (".inf", float("inf")),
        ("true", True),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("", None),
        ('{"a": [1.5e-10, null, false, "\\u00e9"]}', {"a": [1.5e-10, None, False, "é"]}),
        ("{base: &b {x: 1}, more: {<<: *b, x: 2}}", {"base": {"x": 1}, "more": {"x": 2}}),
    ],
)
def test_values_are_those_of_json_and_of_people(text, value):
    found = parse_yaml(text, "it")
    assert found == value
    assert type(found) is type(value)


# -------------------------------------------------------------------- names and numbers


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["corupt", "x"], "`assay corrupt`"),
        (["datasets", "lisst"], "`assay datasets list`"),
        (["dataset", "list"], "`assay datasets`"),
        (["corrupt", "x", "--elemnt", "rewards", "-o", "y"], "--element"),
        (["corrupt", "x", "--elemnt=rewards", "-o", "y"], "--element"),
        (["datasets", "show", "x", "--optoin", "a=1"], "--option"),
        (["train", "x", "--imprt", "y.py"], "--import"),
    ],
)
def test_a_misspelt_command_or_option_gets_a_suggestion(capsys, arguments, suggestion):
    assert [line.partition("did you mean ")[2] for line in suggestions(arguments)] == [f"{suggestion}?"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert f"did you mean {suggestion}?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["datasets", "show", "x", "--steps", "1"], ["train", "x", "--environment", "y"], ["zzzz"]]
)
def test_an_option_that_is_near_to_none_gets_no_suggestion(arguments):
    assert suggestions(arguments) == []


def test_metrics_of_nothing_is_misuse(capsys):
    error = refused(capsys, ["metrics"], status=2)
    assert "which dataset" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("evaluation: null", "evaluation: {episodes: 0}"), "evaluation: episodes=0: input should be greater than 0"),
        (
            ("evaluation: null", "evaluation: {episods: 1}"),
            "episods is not a parameter of it; did you mean 'episodes'?",
        ),
        (("evaluation: null", "evaluation: fnal"), "unknown evaluation preset 'fnal'; did you mean 'final'?"),
        (("evaluation: null", "evaluation: 3"), "evaluation=3: expected settings"),
        (("steps: 2", "steps: true"), "budgets.small.steps=True: expected a number, not true or false"),
        (("steps: 2", "stepz: 2"), "budgets.small.stepz is not a parameter of it; did you mean 'steps'?"),
        (("hidden: [4]", "hiden: [4]"), "hiden is not a parameter of it; did you mean 'hidden'?"),
        (("hidden: [4]", "batch_size: true"), "batch_size=True: expected a number"),
        (("clean: []", "clean: [corruption.random: {element: rewards, rate: true}]"), "rate=True: expected a number"),
        (("evaluation: null", "seeds: [true]"), "seeds.0=True: expected a number"),
        (("evaluation: null", "seeds: [-1]"), "seeds.0=-1: input should be greater than or equal to 0"),
        (("evaluation: null", f"seeds: [{2**63}]"), f"seeds.0={2**63}"),
        (("{clean: []}", "{}"), "variants is empty; name one at least"),
        (("{bc: {hidden: [4]}}", "{}"), "algorithms is empty; name one at least"),
        (("{small: {steps: 2}}", "{}"), "budgets is empty; name one at least"),
        (("evaluation: null", "seeds: []"), "seeds=[]: name one seed at least"),
        (("evaluation: null", "seeds: [0, 0]"), "seeds=[0, 0]: a seed stands there twice"),
        (("steps: 2", "steps: 2, seeds: []"), "budgets.small.seeds=[]: name one seed at least"),
        (("steps: 2", "steps: 2, only: {variants: []}"), "only of a budget: [] leaves none of the variants"),
        (("steps: 2", "steps: 2, only: {variants: [clean, '!*']}"), "leaves none of the variants"),
        (
            ("steps: 2", "steps: 2, only: [bc]"),
            "budgets.small.only=['bc']: expected a mapping with the keys sources, variants, algorithms",
        ),
        (("{steps: 2}", "5"), "budgets.small=5: expected a mapping with the keys steps"),
        (("evaluation: null", "quality: [5]"), "quality=[5]: expected a mapping with the keys bins"),
        (
            (
                "clean: []",
                "twice: [corruption.random: {element: rewards}, relabeling.hindsight_goals: {}, relabeling.hindsight_goals: {}]",
            ),
            "suite.yaml: variant twice: transform 2: ",
        ),
        (("variants: {clean: []}", "variants: {clean: []}\nvariants: {clean: []}"), "the key 'variants' occurs twice"),
    ],
)
def test_a_suite_with_a_wrong_value_is_refused_by_its_place(prepared, monkeypatch, capsys, tmp_path, change, message):
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE.replace(*change))
    monkeypatch.chdir(prepared)
    error = refused(capsys, ["run", str(suite), "--runs", "new", "--dry-run"])
    assert message in error
    assert "suite.yaml" in error
    assert "validator" not in error


def test_a_suite_without_an_environment_is_told_what_a_suite_can_say(prepared, capsys, tmp_path, monkeypatch):
    made = assay.load(prepared / "data")
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    assay.save(Dataset.from_arrays(**{name: made.column(name) for name in names}), tmp_path / "bare")
    (tmp_path / "suite.yaml").write_text(
        SUITE.replace("source: data", f"source: {tmp_path / 'bare'}").replace("null", "final")
    )
    error = refused(capsys, ["run", str(tmp_path / "suite.yaml"), "--runs", str(tmp_path / "runs")])
    assert "evaluation: null" in error


@pytest.mark.parametrize("seed", ["-1", str(2**63), "1" * 23])
@pytest.mark.parametrize(
    "line",
    [
        "train data --algorithm bc --steps 2 --episodes 0 --runs new --seeds SEED",
        "corrupt data -e rewards -o new --seed SEED",
        "datasets collect pendulum/random --steps 200 -o new --seed SEED",
        "datasets train-policy CartPole-v1 --steps 100 -o new.json --seed SEED",
        "evaluate runs --dataset data --seed SEED",
    ],
)
def test_a_seed_that_no_file_can_hold_is_refused_by_every_command(prepared, monkeypatch, capsys, line, seed):
    monkeypatch.chdir(prepared)
    error = refused(capsys, line.replace("SEED", seed).split())
    assert f"seed={seed}: expected a whole number from 0 to 2**63 - 1" in error
    assert not Path("new").exists()


def test_the_largest_seed_trains_and_its_folder_can_be_read(tmp_path, prepared):
    from assay.baselines import BC, Job, Run, train

    job = Job(BC(hidden=(4,)), assay.load(prepared / "data"), 2**63 - 1)
    (run,) = train([job], steps=2, runs=tmp_path, evaluation=None)
    assert run.status == "finished"
    assert Run(run.folder).description["job"]["seed"] == 2**63 - 1


@pytest.mark.parametrize(
    ("seeds", "message"), [([], "--seeds: name one training seed at least"), (["0", "0"], "a seed stands there twice")]
)
def test_seeds_are_one_at_least_and_none_twice(capsys, seeds, message):
    assert message in refused(capsys, ["train", "no such data", "--seeds", *seeds])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train data --episodes 0 --evaluate-every 5", "--evaluate-every: --episodes 0 trains without an evaluation"),
        ("train data --episodes 0 --evaluation=sparse", "--evaluation: --episodes 0 trains without an evaluation"),
        ("table runs --format csv --digits 2", "--digits: csv holds every digit"),
    ],
)
def test_options_that_would_be_ignored_are_misuse(prepared, monkeypatch, capsys, line, message):
    monkeypatch.chdir(prepared)
    assert message in refused(capsys, line.split(), status=2)


def test_training_nothing_is_refused(tmp_path):
    from assay.baselines import train

    with pytest.raises(ConfigError, match="nothing to train"):
        train([], steps=2, runs=tmp_path)


def test_a_setting_given_twice_is_refused(prepared, monkeypatch, capsys):
    monkeypatch.chdir(prepared)
    twice = ["apply", "data", "corruption.random", "element=rewards", "rate=0.1", "rate=0.2", "-o", "new"]
    assert "rate is given twice" in refused(capsys, twice)


def test_a_failure_to_write_keeps_what_was_there(tmp_path, monkeypatch):
    from assay.datasets import atomic

    atomic.atomic_write(tmp_path / "kept", "before")
    monkeypatch.setattr(atomic.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="kept cannot be written: the disk is full"):
        atomic.atomic_write(tmp_path / "kept", "after")
    assert (tmp_path / "kept").read_text() == "before"
    assert shutil.disk_usage(tmp_path).total > 0


@pytest.mark.parametrize(
    "line", ["trial data half --algorithm bc --seeds 2 --steps 2", "value data --steps 2 --subsets 24"]
)
def test_comparing_scores_needs_episodes(prepared, monkeypatch, capsys, line):
    monkeypatch.chdir(prepared)
    assert "--episodes 0: it has to be 1 or more" in refused(capsys, [*line.split(), "--episodes", "0"])
