"""The command that says how often a step is to be drawn."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from assay.cli.application import command
from assay.cli.console import out
from assay.cli.options import Drop, Name, Output, settings
from assay.cli.transforms import Destination, apply_transforms
from assay.datasets.registry import check_seed

__all__: list[str] = []


@command("reweight")
def reweight(
    name: Name,
    fields: Annotated[Positional[list[str]], arg(metavar="FIELD=VALUE")] = [],  # noqa: B006
    *,
    output: Output,
    method: str = "trajectory",
    materialize: bool = False,
    seed: int = 0,
    format: str = "assay",
    overwrite: bool = False,
    drop: Drop = [],  # noqa: B006
    variant: str | None = None,
) -> None:
    """Weight the steps of a dataset, and say how many equally drawn steps the weights are worth.

    Example: assay reweight hopper/medium-replay score=advantage temperature=0.1 -o hopper-weighted

    Example: assay reweight my-robot of=uncertainty/actions lower_is_better=true --method column -o my-robot-sure

    Example: assay reweight hopper/medium-replay score=top fraction=0.1 --materialize --format d3rlpy -o hopper-best.h5

    Args:
        name: Catalog name, minari:<id> or path.
        fields: Parameters of the method, such as score=advantage, of=infos/progress or shares='{expert: 0.5}'; values are YAML.
        output: Folder to write.
        method: What stands behind "reweighting." in recipes: trajectory, column, tags, coverage,
            density_ratio, experience, mixture.
        materialize: Write a resampled dataset without weights, for learners that draw uniformly.
        seed: Of the resampling.
        format: "assay" keeps the weights.
        overwrite: Replace what is there.
        drop: A column to leave out because the format cannot hold it; several times.
        variant: What the result is called in tables and figures; default its source and its last transforms.
    """
    from assay.datasets.transform import make_transform
    from assay.reweighting import effective_sample_size

    check_seed(seed)
    transforms = [make_transform(f"reweighting.{method}", settings(fields, ""))]
    if materialize:
        transforms.append(make_transform("reweighting.materialize", {"seed": seed}))
    result = apply_transforms(name, transforms, Destination(output, format, overwrite, drop, variant))
    if result.weights is not None:
        worth = effective_sample_size(result)
        out.print(
            f"the weighted steps are worth as much as {worth:,.0f} of {result.total_steps:,} equally drawn steps",
            highlight=False,
        )
