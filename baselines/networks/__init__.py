"""Networks for a whole population: perceptrons, transformers, and the optimizer that trains them."""

from assay.baselines.networks.mlp import MLP, Scalars
from assay.baselines.networks.network import FixedNetwork, Network, Parameter, Specification

__all__ = ["MLP", "FixedNetwork", "Network", "Parameter", "Scalars", "Specification"]
