"""`assay augment`, `assay apply` and recipes give what Python gives."""

from __future__ import annotations

import re

import pytest

import assay
from assay.augmentation import GaussianNoise, GuidedAugmentation
from assay.cli import main
from assay.datasets.recipe import Recipe

SOURCE = "pointmaze-umaze-goal/detours"


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "detours"
    assay.save(assay.load(SOURCE, steps=300), folder)
    return folder


def run(capsys, *arguments, status=0):
    try:
        main([str(item) for item in arguments])
        found = 0
    except SystemExit as end:
        found = int(end.code or 0)
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert found == status, text
    return re.sub(r"\s+", " ", text)


def test_augment_writes_what_python_makes_and_reports_the_rejections(stored, tmp_path, capsys):
    text = run(capsys, "augment", stored, "--ratio", 2, "check=sample", "-o", tmp_path / "more")
    assert "300 steps" in text
    assert "became 900" in text
    assert "rejected by the domain" in text
    assert "largest difference to the simulator's own step" in text
    made = assay.load(tmp_path / "more")
    assert made == GuidedAugmentation(ratio=2, check="sample")(assay.load(stored))
    assert assay.replay(made.history) == made


def test_apply_and_recipes_know_every_augmentation_by_name(stored, tmp_path, capsys):
    run(capsys, "apply", stored, "augmentation.gaussian_noise", "scale=0.1", "-o", tmp_path / "noisy")
    expected = GaussianNoise(scale=0.1)(assay.load(stored))
    assert assay.load(tmp_path / "noisy") == expected
    recipe = Recipe.from_plain({"source": str(stored), "transforms": [{"augmentation.gaussian_noise": {"scale": 0.1}}]})
    assert recipe.build() == expected


def test_a_domain_is_written_as_yaml(stored, tmp_path, capsys):
    field = "domain={point_maze: {map: umaze, episodic: true, speed: null}}"
    run(capsys, "augment", stored, field, "--method", "random", "-o", tmp_path / "moved")
    parameters = assay.load(tmp_path / "moved").history[-1].parameters
    assert parameters["domain"]["point_maze"]["speed"] is None


def test_what_is_misspelt_or_does_not_fit_is_one_line(stored, tmp_path, capsys):
    target = tmp_path / "nothing"
    assert "did you mean 'augmentation.symmetry'" in run(
        capsys, "augment", stored, "--method", "symetry", "-o", target, status=1
    )
    assert "unknown domain 'point_maz'" in run(capsys, "augment", stored, "domain=point_maz", "-o", target, status=1)
    assert "map='umaz'" in run(capsys, "augment", stored, "domain={point_maze: {map: umaz}}", "-o", target, status=1)
    text = run(capsys, "augment", stored, "guide={reward: {least: 5}}", "attempts=2", "-o", target, status=1)
    assert "were accepted within 2 attempts each" in text
    assert not target.exists()
