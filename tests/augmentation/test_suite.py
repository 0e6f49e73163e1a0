"""A variant of every source of the suite is made by the domain of its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.baselines.suites.suite import Suite

SUITES = Path(__file__).parents[2] / "suites"


@pytest.mark.parametrize("source", ["medium", "soccer"])
def test_the_domain_of_a_source_is_that_of_its_environment(source):
    suite = Suite.from_yaml(SUITES / "guided-augmentation.yaml").model_copy(
        update={"variants": {"guided": ["augmentation.guided"]}}
    )
    part = suite.model_copy(update={"sources": {source: suite.sources[source]}})
    budget = part.budget("small").model_copy(update={"dataset_steps": 200})
    (variant,) = part.variants_of(part.load_sources(budget))
    (domain,) = variant.dataset.history[-1].parameters["domain"]
    assert domain == {"medium": "point_maze", "soccer": "soccer"}[source]
    assert variant.dataset.column("augmented").sum() == 200
