"""Network policies: rows are independent to the last bit, and files hold what was written or are refused."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.datasets.collection.collect import collect
from assay.datasets.collection.network_policy import NetworkPolicy
from assay.datasets.collection.policies import LinearPolicy
from assay.datasets.collection.policy_file import open_policy_file, read_policy_file, write_policy_file
from assay.datasets.errors import ConfigError, FormatError


def some_policy(
    head: str = "tanh_gaussian",
    activation: str = "relu",
    sizes: tuple[int, ...] = (11, 64, 32),
    actions: int = 3,
    stochastic: bool = False,
) -> NetworkPolicy:
    generator = np.random.default_rng(0)
    outputs = 2 * actions if head == "tanh_gaussian" else actions
    widths = (*sizes, outputs)
    weights = [generator.normal(size=pair) / np.sqrt(pair[0]) for pair in pairwise(widths)]
    biases = [generator.normal(size=width) for width in widths[1:]]
    bounds = {} if head == "argmax" else {"low": np.full(actions, -1.0), "high": np.linspace(0.5, 2, actions)}
    return NetworkPolicy(weights, biases, head, activation=activation, stochastic=stochastic, **bounds)


@pytest.mark.parametrize("head", ["tanh", "tanh_gaussian", "argmax"])
@pytest.mark.parametrize("activation", ["relu", "selu"])
def test_a_row_does_not_depend_on_the_rows_beside_it(head: str, activation: str) -> None:
    policy = some_policy(head, activation)
    observations = np.random.default_rng(1).normal(size=(100, 11))
    noise = np.random.default_rng(2).normal(size=(100, 3))
    whole = policy(observations)
    drawn = policy.sample(observations, noise) if head == "tanh_gaussian" else None
    for size in (1, 2, 3, 7, 16, 64):
        for start in range(0, 100, size):
            part = slice(start, start + size)
            np.testing.assert_array_equal(policy(observations[part]), whole[part])
            if drawn is not None:
                np.testing.assert_array_equal(policy.sample(observations[part], noise[part]), drawn[part])
    np.testing.assert_array_equal(policy(np.asfortranarray(observations)), whole)


@pytest.mark.parametrize("activation", ["relu", "selu"])
def test_it_is_the_network_that_torch_computes(activation: str) -> None:
    torch = pytest.importorskip("torch")
    policy = some_policy(activation=activation)
    observations = np.random.default_rng(1).normal(size=(50, 11)).astype(np.float32)
    values = torch.from_numpy(observations)
    for layer, (weight, bias) in enumerate(zip(policy.weights, policy.biases)):
        values = getattr(torch, activation)(values) if layer else values
        values = values @ torch.tensor(weight) + torch.tensor(bias)
    np.testing.assert_allclose(policy.outputs(observations), values.numpy(), rtol=1e-5, atol=1e-5)
    middle, half = (policy.high + policy.low) / 2, (policy.high - policy.low) / 2
    greedy = middle + half * torch.tanh(values[:, :3]).numpy()
    np.testing.assert_allclose(policy(observations), greedy, rtol=1e-5, atol=1e-5)


def test_image_observations_are_flattened() -> None:
    policy = some_policy("argmax", sizes=(12, 8))
    observations = np.random.default_rng(0).integers(0, 2, (5, 3, 4)).astype(bool)
    np.testing.assert_array_equal(policy(observations), policy(observations.reshape(5, 12)))
    with pytest.raises(ConfigError, match=r"\[n, 12\]"):
        policy(np.zeros((5, 11)))


@pytest.mark.parametrize(("environments", "workers"), [(5, 0), (3, 2)])
@pytest.mark.parametrize(("stochastic", "noise"), [(False, 0.1), (True, 0.0), (True, 0.1)])
def test_collection_does_not_depend_on_environments_or_workers(
    environments: int, workers: int, stochastic: bool, noise: float
) -> None:
    policy = some_policy(stochastic=stochastic)
    first = collect("Hopper-v5", policy, steps=400, noise=noise, seed=1, environments=1, workers=0)
    other = collect("Hopper-v5", policy, steps=400, noise=noise, seed=1, environments=environments, workers=workers)
    assert first.observations.tobytes() == other.observations.tobytes()
    assert first.actions.tobytes() == other.actions.tobytes()


def test_a_stochastic_policy_is_sampled_and_noise_comes_on_top() -> None:
    arguments: dict[str, Any] = {"steps": 50, "seed": 1, "workers": 0}
    greedy, sampled, noisy = (
        collect("Hopper-v5", some_policy(stochastic=stochastic), noise=noise, **arguments)
        for stochastic, noise in ((False, 0.0), (True, 0.0), (True, 0.2))
    )
    # All three begin in the same state.
    np.testing.assert_array_equal(greedy.observations[0], noisy.observations[0])
    assert (greedy.actions[0] != sampled.actions[0]).any()
    assert (sampled.actions[0] != noisy.actions[0]).any()
    states = np.repeat(greedy.observations[:1], 20_000, axis=0)
    policy = some_policy(stochastic=True)
    normal = np.random.default_rng(0).standard_normal((20_000, 3))
    mean, log_std = np.split(policy.outputs(states[:1])[0], 2)
    unbounded = np.arctanh(
        (policy.sample(states, normal) - 0.5 * (policy.high + policy.low)) / (policy.high - policy.low) * 2
    )
    finite = np.isfinite(unbounded).all(axis=1)
    np.testing.assert_allclose(unbounded[finite].mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(np.log(unbounded[finite].std(axis=0)), log_std, atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": []}, "as many biases"),
        ({"biases": [[0.0, 0.0], [0.0]]}, "as many biases"),
        ({"weights": [[1.0]]}, "2 dimension"),
        ({"weights": [[["a"]]]}, "numbers"),
        ({"weights": [[[float("nan")]]]}, "finite"),
        ({"biases": [[0.0, 0.0]]}, "2 entries for 1 outputs"),
        ({"low": [2.0]}, "below high"),
        ({"low": [0.0, 0.0], "high": [1.0, 1.0]}, "2 outputs are needed"),
        ({"head": "softmax"}, "head must be one of"),
        ({"activation": "gelu"}, "activation must be one of"),
        ({"stochastic": True}, "only a tanh_gaussian"),
        ({"head": "argmax"}, "no low and high"),
    ],
)
def test_what_cannot_be_a_policy_says_why(change: dict[str, Any], message: str) -> None:
    good = {"weights": [[[1.0]]], "biases": [[0.0]], "head": "tanh", "low": [-1.0], "high": [1.0]}
    NetworkPolicy(**good)
    with pytest.raises(ConfigError, match=message):
        NetworkPolicy(**good | change)


# -------------------------------------------------------------------- files


@pytest.mark.parametrize("head", ["tanh", "tanh_gaussian", "argmax"])
def test_a_file_gives_the_policy_back_to_the_bit(tmp_path: Path, head: str) -> None:
    policy = some_policy(head, "selu", stochastic=head == "tanh_gaussian")
    training = {"algorithm": "SAC", "seed": 3, "learning_curve": {"steps": [0, 10], "mean_return": [1.5, 2.5]}}
    write_policy_file(tmp_path / "actor.safetensors", "Hopper-v5", policy, training)
    back = open_policy_file(tmp_path / "actor.safetensors")
    assert (back.environment_id, back.training) == ("Hopper-v5", training)
    assert isinstance(back.policy, NetworkPolicy)
    assert back.policy.to_dict() == policy.to_dict()
    observations = np.random.default_rng(0).normal(size=(9, 11))
    np.testing.assert_array_equal(back.policy.outputs(observations), policy.outputs(observations))


def test_the_same_policy_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_policy_file(tmp_path / name, "A-v0", some_policy(), {"seed": 3, "steps": 5, "curve": [1, 2]})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_no_length_of_the_header_is_taken_for_text(tmp_path: Path) -> None:
    def padded(spaces: int) -> bytes:
        """Return a file whose header, JSON as it is, is made so much longer by spaces behind it."""
        content = stored(GOOD_TENSORS, GOOD_METADATA)
        end = 8 + int.from_bytes(content[:8], "little")
        return (end - 8 + spaces).to_bytes(8, "little") + content[8:end] + b" " * spaces + content[end:]

    begun_with = set()
    for spaces in range(256):
        (tmp_path / "actor").write_bytes(padded(spaces))
        begun_with.add((tmp_path / "actor").read_bytes()[:1])
        assert read_policy_file(tmp_path / "actor")[0] == "A-v0"
    assert {b"{", b" ", b"\n"} <= begun_with


def test_the_kind_of_a_file_is_told_from_its_content(tmp_path: Path) -> None:
    linear = LinearPolicy([[1.0]], [0.0], [1.0])
    write_policy_file(tmp_path / "linear.safetensors", "A-v0", linear, {})
    write_policy_file(tmp_path / "network.json", "B-v0", some_policy(), {})
    assert read_policy_file(tmp_path / "linear.safetensors") == ("A-v0", linear)
    assert isinstance(read_policy_file(tmp_path / "network.json")[1], NetworkPolicy)


def stored(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    from safetensors.numpy import save

    return save(tensors, metadata)


GOOD_POLICY = {"kind": "network", "head": "argmax", "activation": "relu", "stochastic": False}


def metadata_of(**changes: Any) -> dict[str, str]:
    content = {"environment_id": "A-v0", "policy": GOOD_POLICY, "training": {}}
    return {"assay-policy-file": json.dumps(content | changes)}


GOOD_METADATA = metadata_of()
GOOD_TENSORS = {"weight/0": np.ones((2, 3), np.float32), "bias/0": np.zeros(3, np.float32)}


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        (GOOD_TENSORS, {}, "is not a policy file"),
        (GOOD_TENSORS, {"assay-policy-file": "{}"}, "no usable policy"),
        (GOOD_TENSORS, {"assay-policy-file": "3"}, "no usable policy"),
        (GOOD_TENSORS, {"assay-policy-file": "{"}, "no usable policy"),
        (GOOD_TENSORS, {"assay-policy-file": "[" * 100_000}, "no usable policy"),
        (GOOD_TENSORS, metadata_of(policy=[]), "has the fields"),
        (GOOD_TENSORS, metadata_of(policy={**GOOD_POLICY, "kind": "linear"}), "has the fields"),
        (GOOD_TENSORS, metadata_of(training=3), "training an object"),
        (GOOD_TENSORS, metadata_of(environment_id=["A-v0"]), "environment_id a name"),
        (GOOD_TENSORS, metadata_of(policy={**GOOD_POLICY, "head": "tanh"}), "low"),
        (GOOD_TENSORS, metadata_of(policy={**GOOD_POLICY, "head": ["tanh"]}), "head must be one of"),
        (GOOD_TENSORS, metadata_of(policy={**GOOD_POLICY, "stochastic": 0}), "true or false"),
        ({**GOOD_TENSORS, "extra": np.zeros(1, np.float32)}, GOOD_METADATA, "its tensors are"),
        ({"weight/1": np.ones((2, 3), np.float32), "bias/0": np.zeros(3, np.float32)}, GOOD_METADATA, "its tensors"),
        ({**GOOD_TENSORS, "bias/0": np.zeros(3, np.float64)}, GOOD_METADATA, "F64, not F32"),
        ({**GOOD_TENSORS, "bias/0": np.zeros(2, np.float32)}, GOOD_METADATA, "entries for"),
        ({**GOOD_TENSORS, "weight/0": np.full((2, 3), np.inf, np.float32)}, GOOD_METADATA, "finite"),
        ({"weight/0": np.ones((0, 3), np.float32), "bias/0": np.zeros(3, np.float32)}, GOOD_METADATA, "finite"),
    ],
)
def test_a_file_without_a_policy_says_what_is_wrong(
    tmp_path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str], message: str
) -> None:
    (tmp_path / "actor.safetensors").write_bytes(stored(tensors, metadata))
    with pytest.raises(FormatError, match=message):
        read_policy_file(tmp_path / "actor.safetensors")


def test_the_good_file_of_the_cases_above_is_read(tmp_path: Path) -> None:
    (tmp_path / "actor.safetensors").write_bytes(stored(GOOD_TENSORS, GOOD_METADATA))
    assert read_policy_file(tmp_path / "actor.safetensors")[0] == "A-v0"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        struct.pack("<Q", 1 << 62),
        struct.pack("<Q", 2) + b"{}",
        b"[" * 50_000,
        b"{" * 50_000,
        b"\x80\x04K\x01.",
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "actor.safetensors").write_bytes(content)
    with pytest.raises(FormatError, match=r"actor\.safetensors"):
        read_policy_file(tmp_path / "actor.safetensors")
    with pytest.raises(FormatError, match="cannot be read"):
        read_policy_file(tmp_path / "missing.safetensors")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_is_still_a_policy(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(stored(GOOD_TENSORS, GOOD_METADATA))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))]
    (tmp_path / "actor.safetensors").write_bytes(bytes(content))
    try:
        environment_id, policy = read_policy_file(tmp_path / "actor.safetensors")
    except FormatError:
        return
    assert isinstance(environment_id, str)
    assert policy(np.zeros((1, 2))).shape == (1,)
