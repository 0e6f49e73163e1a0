r"""The nearest row of a member's own dataset to a state and an action: exact, by products in blocks of fixed size.

With the weight beta of the states, the squared distance of a row (k_s, k_a) to a query (s, a) is, but for what is the same for
all rows,

.. math:: \beta^2 \lVert k_s \rVert^2 + \lVert k_a \rVert^2 - 2 \, (\beta^2 \langle s, k_s \rangle + \langle a, k_a \rangle) ,

the product of two vectors, one of the row and one of the query:

::

    row      k_s          k_a    |k_s|^2   |k_a|^2
    query    -2 beta^2 s  -2 a   beta^2    1

All members that share a dataset ask in one product, whatever their beta. Blocks of 128 rows are compared by their smallest
distance; in the best of them distances are taken again as they are defined, so that rounding can only choose between blocks
whose nearest rows are equally near to a few units in the last place of the norms. Of equally near rows of a block the first counts.
Shapes do not depend on the numbers: an update that searches can be captured.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from assay.baselines.engine.tables import DatasetTable
from assay.datasets.errors import ConfigError

__all__ = ["nearest_of", "nearest_rows"]

_BLOCK = 128  # rows
_CACHED = 1 << 18  # distances of a piece that stay in a core's cache (1 MiB)
_ON_DEVICE = 1 << 26  # distances of a piece on a GPU (256 MiB)


@torch.no_grad()
def nearest_rows(
    table: DatasetTable | None,
    observations: torch.Tensor,
    actions: torch.Tensor,
    observation_weight: torch.Tensor,
    *,
    together: int | None = None,
) -> torch.Tensor:
    """Return the row of each member's dataset that is nearest to each of its queries.

    Parameters
    ----------
    table : DatasetTable
    observations : [P, B, observation] tensor
        As the networks see them.
    actions : [P, B, action] tensor
    observation_weight : [P, 1] tensor
        What differences of observations are multiplied by, each member's own.
    together : int, optional
        Rows that are looked at in one product; default what suits the device.

    Returns
    -------
    [P, B] int64 numbers of rows of the table

    Raises
    ------
    ConfigError
        If the datasets are not on the device.
    """
    if table is None or table.rows.device != observations.device:
        raise ConfigError(
            "nearest neighbours are looked for on the device, where the data does not fit: use storage float16, a smaller "
            "dataset or a larger device"
        )
    # Products at less than full precision would choose wrong rows; those of float64 are always full.
    full = torch.get_float32_matmul_precision() == "highest" and not torch.is_autocast_enabled(observations.device.type)
    dtype = observations.dtype if full else torch.float64
    states, acts = observations.to(dtype), actions.to(dtype)
    weights = observation_weight.to(dtype).square()[..., None].expand(-1, states.shape[1], 1)  # [P, B, 1]
    found = torch.zeros(states.shape[:2], dtype=torch.int64, device=states.device)
    for first, behind, members in table.shared:
        asked, acted, weighed = (tensor.index_select(0, members).flatten(0, 1) for tensor in (states, acts, weights))
        nearest = first + nearest_of(table.rows[first:behind], asked, acted, weighed, together)
        found.index_copy_(0, members, nearest.view(len(members), -1))
    return found


def nearest_of(
    rows: torch.Tensor, states: torch.Tensor, actions: torch.Tensor, weights: torch.Tensor, together: int | None = None
) -> torch.Tensor:
    """Return [Q] places among rows [M, ...] that begin with a state and an action, for queries [Q, ...].

    Parameters
    ----------
    rows : [M, observation + action + ...] tensor
    states, actions : [Q, observation] and [Q, action] tensors
    weights : [Q, 1] tensor
        What squared differences of observations are multiplied by.
    together : int, optional
        As of `nearest_rows`.
    """
    sizes = [states.shape[1], actions.shape[1]]
    keys = rows[:, : sum(sizes)]
    queries = torch.cat([-2.0 * weights * states, -2.0 * actions, weights, torch.ones_like(weights)], -1)
    if together is None:
        together = (_CACHED if keys.device.type == "cpu" else _ON_DEVICE) // len(queries)
    together = max(1, together // _BLOCK) * _BLOCK
    smallest = []
    for piece in torch.split(keys, together):
        piece = piece.to(queries.dtype)
        norms = [part.square().sum(-1, keepdim=True) for part in torch.split(piece, sizes, -1)]
        distances = queries @ torch.cat([piece, *norms], -1).mT  # [Q, together]
        if missing := -distances.shape[1] % _BLOCK:
            distances = functional.pad(distances, (0, missing), value=torch.inf)
        smallest.append(distances.view(len(queries), -1, _BLOCK).amin(-1))
    block = torch.cat(smallest, -1).argmin(-1, keepdim=True)  # [Q, 1]
    places = (block * _BLOCK + torch.arange(_BLOCK, device=keys.device)).clamp(max=len(keys) - 1)  # [Q, 128]
    near = keys.index_select(0, places.flatten()).view(*places.shape, -1).to(queries.dtype)
    to_states, to_actions = torch.split(near, sizes, -1)
    distances = weights * (to_states - states[:, None]).square().sum(-1)
    distances = distances + (to_actions - actions[:, None]).square().sum(-1)
    return places.gather(1, distances.argmin(-1, keepdim=True)).squeeze(1)
