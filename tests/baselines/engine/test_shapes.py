"""Observations of several parts: vectors, categories and images, laid out, batched, encoded and acted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from assay.baselines import (
    BC,
    BVE,
    CRR,
    DQN,
    MCE,
    QRDQN,
    REM,
    TD3BC,
    DiscreteBC,
    DiscreteBCQ,
    DiscreteCQL,
    DiscreteIQL,
    Job,
    train,
)
from assay.baselines.algorithms.algorithm import Setting
from assay.baselines.engine.population import Member, Population
from assay.baselines.engine.randomness import Draws
from assay.baselines.engine.shapes import Part, Shapes
from assay.baselines.networks import ConvolutionalEncoder
from assay.baselines.networks.encoder import filters_for
from assay.baselines.networks.network import Network
from assay.datasets import Dataset
from assay.datasets.errors import ConfigError
from assay.datasets.info import DatasetInfo
from assay.datasets.spaces import Box, Dict, Discrete

SIDE = 6
TINY = {"hidden": (16,), "batch_size": 16, "filters": ((4, 3, 1),), "learning_rate": 3e-3}


def pictures(steps: int = 200, seed: int = 0, *, nested: bool = True) -> Dataset:
    """The rewarded action is the half of the picture that is bright; two episodes."""
    rng = np.random.default_rng(seed)
    right = rng.integers(0, 2, steps + 2)
    camera = rng.integers(0, 60, (steps + 2, SIDE, SIDE, 1)).astype(np.uint8)
    for side in (0, 1):
        camera[right == side, :, side * 3 : side * 3 + 3] += 150
    actions = rng.integers(0, 2, steps)
    starts = np.arange(steps) + (np.arange(steps) >= steps // 2)
    ends = np.isin(np.arange(steps), (steps // 2 - 1, steps - 1))
    observations = camera
    space = Box((SIDE, SIDE, 1), "uint8", np.zeros((SIDE, SIDE, 1)).tolist(), np.full((SIDE, SIDE, 1), 255).tolist())
    if nested:
        observations = {
            "camera": camera,
            "room": rng.integers(1, 4, steps + 2),
            "speed": rng.normal(5.0, 2.0, (steps + 2, 2)).astype(np.float32),
        }
        space = Dict({"camera": space, "room": Discrete(3, 1), "speed": Box((2,), "float32", [-9, -9], [9, 9])})
    return Dataset.from_arrays(
        observations=observations,
        actions=actions,
        rewards=(actions == right[starts]).astype(np.float64),
        terminations=np.ones(steps, bool) & ends,
        truncations=np.zeros(steps, bool),
        info=DatasetInfo(observation_space=space, action_space=Discrete(2)),
    )


def test_shapes_are_read_off_the_dataset():
    shapes = Job(DiscreteCQL(), pictures()).shapes
    assert [(part.name, part.kind) for part in shapes.parts] == [
        ("camera", "image"),
        ("room", "category"),
        ("speed", "vector"),
    ]
    assert shapes.observation_size == 5
    assert shapes.measured.tolist() == [False] * 3 + [True] * 2
    assert Shapes.from_plain(shapes.to_plain()) == shapes


def test_what_an_environment_shows_is_split_as_the_dataset_was_laid_out():
    dataset = pictures()
    shapes = Job(DiscreteCQL(), dataset).shapes
    observations = dataset.observations
    rows = len(observations["room"])
    flat = np.concatenate(
        [observations[name].reshape(rows, -1).astype(float) for name in ("camera", "room", "speed")], 1
    )
    vector, images = shapes.split(flat)
    assert np.array_equal(vector, shapes.vector(observations))
    assert np.array_equal(images["camera"], observations["camera"])
    assert vector[:, :3].sum(1).tolist() == [1.0] * rows
    with pytest.raises(ConfigError, match="holds 7 in row 0, which is none of the 3 categories from 1 on"):
        Shapes((Part("room", (), "category", 3, 1),), 2).vector({"room": np.array([7])})


def test_batches_hold_the_frames_of_s_and_of_the_next_s():
    dataset = pictures(40)
    job = Job(DiscreteCQL(**TINY, normalize_observations=True), dataset)
    data = job.algorithm.training_data(dataset, job.action_scale)
    assert data.frames["camera"].frames.dtype == np.uint8
    made = Population([Member(job.algorithm, seed, 0) for seed in (0, 1)], [data], 10)
    rows = made.batches.draw_indices()
    batch = made.batches.batches()["batch"]
    starts = dataset.observation_rows[rows.numpy()]
    camera = torch.tensor(dataset.observations["camera"])
    assert batch.images["camera"].dtype == torch.uint8
    assert torch.equal(batch.images["camera"], camera[starts])
    assert torch.equal(batch.next_images["camera"], camera[starts + 1])
    assert batch.observations.shape == (2, 16, 5)


def test_codes_are_not_normalized_and_measurements_are():
    job = Job(BC(), pictures_without_camera())
    data = job.algorithm.training_data(job.dataset, job.action_scale)
    observations = data.rows[:, :5]
    assert set(np.unique(observations[:, :3])) == {0.0, 1.0}
    assert np.allclose(observations[:, 3:].mean(0), 0.0, atol=1e-5)


def pictures_without_camera() -> Dataset:
    dataset = pictures()
    observations = {name: value for name, value in dataset.observations.items() if name != "camera"}
    space = Dict({"room": Discrete(3, 1), "speed": Box((2,), "float32", [-9, -9], [9, 9])})
    return Dataset.from_arrays(
        observations=observations,
        actions=dataset.actions,
        rewards=dataset.rewards,
        terminations=dataset.terminations,
        truncations=dataset.truncations,
        info=DatasetInfo(observation_space=space, action_space=Discrete(2)),
    )


def test_an_algorithm_without_an_encoder_refuses_images_by_name(tmp_path):
    with pytest.raises(ConfigError, match="observations/camera is an image of uint8"):
        train([Job(BC(), pictures())], steps=2, runs=tmp_path, evaluation=None)
    with pytest.raises(ConfigError, match="needs a bounded Box action space"):
        train([Job(TD3BC(), pictures())], steps=2, runs=tmp_path, evaluation=None)


def test_an_encoder_is_its_members_convolutions_one_by_one():
    spec = ConvolutionalEncoder(2, ((8, 7, 3),), ((5, 3, 2), (4, 2, 1)), features=6, learning_rate="x", ensemble=2)
    network = Network("encoder", spec, Draws([0, 1], torch.zeros(1, dtype=torch.int64), torch.float64))
    rng = np.random.default_rng(0)
    vector = torch.from_numpy(rng.normal(size=(2, 3, 2)))
    image = torch.from_numpy(rng.integers(0, 256, (2, 3, 8, 7, 3)).astype(np.uint8))
    found = network(vector, image)
    assert found.shape == (2, 2, 3, 8)
    for member in range(2):
        for copy in range(2):
            tensors = [tensor[2 * member + copy] for tensor in network.weights["frozen"]]
            hidden = image[member].permute(0, 3, 1, 2).double() / 255
            hidden = torch.relu(torch.conv2d(hidden, tensors[0], tensors[1], stride=2))
            hidden = torch.relu(torch.conv2d(hidden, tensors[2], tensors[3]))
            features = torch.relu(hidden.flatten(1) @ tensors[4] + tensors[5])
            assert torch.allclose(found[member, copy], torch.cat([vector[member], features], 1), atol=1e-12)


def test_channels_may_come_first_and_small_images_are_refused():
    first = ConvolutionalEncoder(0, ((3, 8, 8),), ((2, 3, 1),), features=2, learning_rate="x")
    last = ConvolutionalEncoder(0, ((8, 8, 3),), ((2, 3, 1),), features=2, learning_rate="x")
    assert [item.shape for item in first.parameters()] == [item.shape for item in last.parameters()]
    image = torch.arange(192, dtype=torch.uint8).view(1, 1, 8, 8, 3)
    draws = Draws([0], torch.zeros(1, dtype=torch.int64))
    found = [Network("encoder", spec, draws) for spec in (first, last)]
    nothing = torch.zeros(1, 1, 0)
    assert torch.allclose(found[0](nothing, image.movedim(-1, 2)), found[1](nothing, image), atol=1e-6)
    with pytest.raises(ConfigError, match="too small"):
        ConvolutionalEncoder(0, ((4, 4, 1),), learning_rate="x").parameters()


def test_a_member_that_sees_images_equals_the_same_job_alone():
    job = Job(DiscreteCQL(**TINY), pictures(60))
    data = [job.algorithm.training_data(job.dataset, job.action_scale)]
    together = Population([Member(job.algorithm, seed, 0) for seed in range(3)], data, 100, dtype=torch.float64)
    alone = Population([Member(job.algorithm, 2, 0)], data, 100, dtype=torch.float64)
    together.advance(40)
    alone.advance(40)
    left, right = together.state(2).tensors, alone.state(0).tensors
    assert max(float((left[name] - right[name]).abs().max()) for name in left) < 1e-9


@pytest.mark.parametrize(
    "make", [DiscreteBC, BVE, MCE, DQN, QRDQN, REM, DiscreteBCQ, CRR, DiscreteIQL], ids=lambda each: each.name
)
def test_every_discrete_algorithm_has_encoders_of_its_members_own(make):
    few = {"quantiles": 3} if make is QRDQN else {"heads": 3} if make is REM else {}
    job = Job(make(**TINY, **few), pictures(60))
    data = [job.algorithm.training_data(job.dataset, job.action_scale)]
    together = Population([Member(job.algorithm, seed, 0) for seed in range(3)], data, 100, dtype=torch.float64)
    alone = Population([Member(job.algorithm, 2, 0)], data, 100, dtype=torch.float64)
    encoders = [network for name, network in together.networks.items() if name.endswith("encoder")]
    before = [network.buffer.clone() for network in encoders]
    together.advance(10)
    alone.advance(10)
    left, right = together.state(2).tensors, alone.state(0).tensors
    assert max(float((left[name] - right[name]).abs().max()) for name in left) < 1e-9
    assert len(encoders) == {CRR: 2, DiscreteIQL: 3}.get(make, 1)
    assert all((network.buffer != first).any() for network, first in zip(encoders, before))


def test_an_encoder_that_two_networks_share_descends_both_of_their_losses():
    job = Job(DiscreteBCQ(**TINY), pictures(60))
    data = [job.algorithm.training_data(job.dataset, job.action_scale)]
    made = Population([Member(job.algorithm, 0, 0)], data, 10, dtype=torch.float64)
    (phase,) = job.algorithm.phases()
    found = phase.losses(Setting(made.networks, made.batches.batches(), made.hyperparameters, made.draws)).of
    assert torch.equal(found["encoder"], found["critic"] + found["behaviour"])


def bits(steps: int = 200) -> Dataset:
    """A grid of 5 x 5 bits with 2 channels; the rewarded action is the channel that is set more often."""
    rng = np.random.default_rng(0)
    grids = (rng.random((steps + 1, 5, 5, 2)) < rng.random((steps + 1, 1, 1, 2))).astype(np.uint8)
    actions = rng.integers(0, 2, steps)
    shape = grids.shape[1:]
    space = Box(shape, "uint8", np.zeros(shape).tolist(), np.ones(shape).tolist())
    return Dataset.from_arrays(
        observations=grids,
        actions=actions,
        rewards=(actions == grids[:-1].sum((1, 2)).argmax(1)).astype(float),
        terminations=np.arange(steps) == steps - 1,
        truncations=np.zeros(steps, bool),
        info=DatasetInfo(observation_space=space, action_space=Discrete(2)),
    )


def test_a_small_grid_has_filters_that_fit_and_its_largest_number_is_seen_as_one():
    job = Job(DQN(hidden=(8,)), bits())
    (part,) = job.shapes.images
    assert (part.kind, part.largest) == ("image", 1)
    assert Shapes.from_plain({**job.shapes.to_plain()}) == job.shapes
    encoder = job.algorithm.networks(job.shapes)["encoder"]
    assert encoder.largest == (1,)
    draws = Draws([0], torch.zeros(1, dtype=torch.int64), torch.float64)
    bit, byte = (Network("encoder", replace(encoder, largest=largest), draws) for largest in ((1,), (255,)))
    nothing, grids = torch.zeros(1, 4, 0, dtype=torch.float64), torch.tensor(bits().observations[None, :4])
    assert torch.allclose(bit(nothing, grids), byte(nothing, grids * 255), atol=1e-12)
    assert not torch.allclose(bit(nothing, grids), byte(nothing, grids), atol=1e-3)


@pytest.mark.parametrize(("shape", "layers"), [((10, 10, 6), 1), ((7, 7, 3), 1), ((64, 64, 3), 3), ((3, 84, 84), 3)])
def test_filters_go_by_the_size_of_the_image(shape, layers):
    encoder = ConvolutionalEncoder(0, (shape,), None, learning_rate="x")
    assert len(filters_for(shape)) == layers
    assert len([each for each in encoder.parameters() if "convolution" in each.name]) == 2 * layers


@pytest.mark.parametrize("nested", [True, False])
def test_what_a_picture_shows_is_learned_saved_and_acted_on(tmp_path, nested):
    train_on, test_on = pictures(400, nested=nested), pictures(200, seed=1, nested=nested)
    algorithm = DiscreteCQL(**TINY, alpha=0.1, discount=0.0)
    (run,) = train([Job(algorithm, train_on)], steps=300, runs=tmp_path, evaluation=None)
    assert run.status == "finished", run.error
    observations = test_on.observations
    arrays = [observations[name] for name in sorted(observations)] if nested else [observations]
    flat = np.concatenate([array.reshape(len(array), -1).astype(float) for array in arrays], 1)
    camera = arrays[0].astype(float)
    bright = camera[:, :, 3:].mean((1, 2, 3)) > camera[:, :, :3].mean((1, 2, 3))
    assert (run.policy(flat)[:, 0] == bright).mean() > 0.95
    values = run.q_values(flat[:5], np.zeros(5, int))
    assert values.shape == (1, 5)
    assert np.allclose(values[0], ~bright[:5], atol=0.4)
