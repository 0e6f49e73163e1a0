"""What every domain promises: its transitions are the simulator's, they are elsewhere, and guided ones make progress."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from assay.augmentation import Domain, Guide, GuidedAugmentation, RandomAugmentation
from assay.augmentation.domains import AntMaze, PointMaze
from assay.augmentation.segments import SegmentReader
from assay.augmentation.simulator import deviations
from assay.datasets.errors import ConfigError, DatasetError
from assay.datasets.registry import register
from tests.augmentation.recordings import DOMAINS, recording

TOLERANCE = 1e-5


def segments_of(dataset):
    """All new transitions, as segments of one step."""
    reader = SegmentReader(dataset.replace({"augmented": None}))
    return reader.read(reader.starts[dataset.column("augmented")[reader.starts]])


# ---------------------------------------------------------------- the laws, which stubs break


def assert_dynamics_hold(transform, dataset):
    added = segments_of(transform(dataset))
    largest = deviations(added, transform.domain.simulator()).largest
    assert largest.max() <= TOLERANCE


def assert_it_moves(transform, dataset):
    added, before = transform(dataset).select("augmented"), dataset.observations
    places, known = (
        each["achieved_goal"][:, :2] if isinstance(each, dict) else each[:, :4] for each in (added.observations, before)
    )
    distances = np.abs(places[:, None] - known[None]).max(axis=2).min(axis=1)
    assert np.mean(distances > 1e-6) > 0.9


def assert_progress(transform, dataset):
    added = segments_of(transform(dataset))
    rises = transform.domain.potential(added.last) - transform.domain.potential(added.first)
    assert (rises > 0).all()


# ---------------------------------------------------------------- every domain keeps them


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("kind", [RandomAugmentation, GuidedAugmentation])
def test_new_transitions_are_the_simulators_own(name, kind):
    dataset = recording(name)
    assert_dynamics_hold(kind(domain=DOMAINS[name], ratio=1.0, seed=1), dataset)


@pytest.mark.parametrize("name", ["point maze", "ant maze", "soccer", "parking"])
@pytest.mark.parametrize("kind", [RandomAugmentation, GuidedAugmentation])
def test_so_are_whole_segments(name, kind):
    more = kind(domain=DOMAINS[name], length=6, check="every", seed=2)(recording(name))
    report = more.info.extra["augmentation"][-1]
    assert report["rejected"]["simulator"] == 0
    assert report["largest_deviation"] <= TOLERANCE
    assert (more.select("augmented").episode_lengths == 6).all()


@pytest.mark.parametrize("name", DOMAINS)
def test_new_transitions_are_elsewhere(name):
    assert_it_moves(RandomAugmentation(domain=DOMAINS[name]), recording(name))
    assert_it_moves(GuidedAugmentation(domain=DOMAINS[name]), recording(name))


@pytest.mark.parametrize("name", DOMAINS)
def test_guided_transitions_raise_the_potential(name):
    assert_progress(GuidedAugmentation(domain=DOMAINS[name]), recording(name))


@pytest.mark.parametrize("name", ["point maze, distance", "ant maze", "soccer", "parking"])
def test_aiming_makes_more_progress_than_chance(name):
    domain, reader = DOMAINS[name], SegmentReader(recording(name))
    source = reader.read(np.tile(reader.starts, 5))
    shares = []
    for propose in (domain.aim, domain.augment):
        made, valid = propose(source, np.random.default_rng(0))
        made = made.take(valid)
        shares.append(np.mean(domain.potential(made.last) > domain.potential(made.first)))
    assert shares[0] > shares[1] + 0.1


def test_a_domain_is_found_by_the_environment_of_the_data():
    import assay

    dataset = assay.load("pointmaze-umaze-goal/detours", steps=300)
    more = GuidedAugmentation()(dataset)
    parameters = more.history[-1].parameters["domain"]["point_maze"]
    assert parameters["episodic"]
    assert parameters["map"][3] == "#g..#"
    assert assay.replay(more.history) == more
    with pytest.raises(ConfigError, match=r"name the domain \(ant_maze, .*soccer"):
        GuidedAugmentation()(recording("point maze"))


# ---------------------------------------------------------------- stubs break them


@register("identity")
class Identity(PointMaze):
    """A domain that changes nothing."""

    ids = "none"

    def augment(self, segments, generator):
        return segments, np.ones(len(segments), bool)

    aim = augment


@register("accept_all")
class AcceptAll(Guide):
    """A guide that keeps everything."""

    def accept(self, segments, domain):
        return np.ones(len(segments), bool)


@register("nothing")
class Nothing(Guide):
    """A guide that keeps nothing."""

    def accept(self, segments, domain):
        return np.zeros(len(segments), bool)


@register("careless")
class Careless(PointMaze):
    """A domain that does not look at walls, before or after."""

    ids = "none"

    clearance = -1.0


def test_a_domain_that_changes_nothing_fails():
    with pytest.raises(AssertionError):
        assert_it_moves(RandomAugmentation(domain=Identity()), recording("point maze"))


def test_a_guide_that_accepts_all_fails():
    with pytest.raises(AssertionError):
        assert_progress(GuidedAugmentation(domain=PointMaze(), guide=AcceptAll()), recording("point maze"))


def test_a_domain_that_ignores_walls_fails_and_the_check_rejects_what_is_wrong():
    dataset = recording("point maze")
    with pytest.raises(AssertionError):
        assert_dynamics_hold(RandomAugmentation(domain=Careless(), ratio=3), dataset)
    with pytest.raises(DatasetError, match=r"segments are not what the simulator does .*is off by"):
        RandomAugmentation(domain=Careless(), check="sample", ratio=3)(dataset)
    checked = RandomAugmentation(domain=Careless(), check="every", ratio=3)
    assert checked(dataset).info.extra["augmentation"][-1]["rejected"]["simulator"] > 0
    assert_dynamics_hold(checked, dataset)


def test_any_angle_is_no_symmetry_of_an_ant_on_the_ground():
    """The friction of MuJoCo's ground is a pyramid along the axes; this is why the default is quarters."""
    transform = RandomAugmentation(domain=AntMaze(rotation="any"), ratio=2)
    dataset = recording("ant maze", episodes=8, steps=200)
    with pytest.raises(AssertionError):
        assert_dynamics_hold(transform, dataset)
    assert_dynamics_hold(replace(transform, check="every"), dataset)


# ---------------------------------------------------------------- budgets and errors


def test_an_impossible_guide_names_the_rate():
    transform = GuidedAugmentation(domain=PointMaze(), guide=Nothing(), attempts=3)
    with pytest.raises(
        DatasetError, match=r"only 0 of 240 segments .*within 3 attempts each: of 720 proposals 100.000%.*by the guide"
    ):
        transform(recording("point maze"))


def test_what_was_rejected_is_reported():
    report = GuidedAugmentation(domain=PointMaze())(recording("point maze")).info.extra["augmentation"][-1]
    rejected = sum(report["rejected"].values())
    assert report["steps"] == 240
    assert 240 <= report["proposed"] - rejected <= 240 + 16 + 0.2 * report["proposed"]
    assert report["rejection_rate"] == rejected / report["proposed"]


def test_the_least_rise_is_a_parameter_of_the_guide():
    domain = PointMaze(speed=None)
    transform = GuidedAugmentation(domain=domain, guide={"potential": {"least": 0.005}})
    added = segments_of(transform(recording("point maze")))
    assert (domain.potential(added.last) - domain.potential(added.first) > 0.005).all()


def test_data_of_another_domain_are_refused_by_what_they_lack():
    with pytest.raises(DatasetError, match=r"ant_maze: .*27 or 105 numbers.*observations/observation has \[4\]"):
        RandomAugmentation(domain=AntMaze())(recording("point maze"))
    with pytest.raises(DatasetError, match="soccer: observations of 6 numbers"):
        RandomAugmentation(domain=DOMAINS["soccer"])(recording("point maze"))
    with pytest.raises(DatasetError, match="lies in no free cell of the map; is map right"):
        RandomAugmentation(domain=PointMaze(map="open"))(recording("point maze, dense"))


@pytest.mark.parametrize("map", ["nowhere", [[1, 1], [1]], [[1, 0, 1]]])
def test_maps_that_are_none_are_refused(map):
    with pytest.raises(ConfigError, match="map"):
        PointMaze(map=map)


def test_seeds_ratios_and_earlier_augmentations():
    dataset = recording("point maze")
    one, again, other = (RandomAugmentation(domain=PointMaze(), ratio=0.5, seed=seed)(dataset) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert one.total_steps == 360
    twice = GuidedAugmentation(domain=PointMaze(), ratio=0.5)(one)
    assert twice.total_steps == 480  # the ratio counts original steps alone
    assert [report["transform"] for report in twice.info.extra["augmentation"]] == [
        "augmentation.random",
        "augmentation.guided",
    ]


def test_one_file_adds_a_domain():
    assert Domain.registry.find("identity") is Identity
    assert RandomAugmentation(domain={"identity": {"map": "medium"}}).domain == Identity(map="medium")
