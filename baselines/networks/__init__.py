"""Networks for a whole population: perceptrons, encoders, transformers, tables, and the optimizer that trains them."""

from assay.baselines.networks.encoder import ConvolutionalEncoder
from assay.baselines.networks.mlp import MLP, Scalars
from assay.baselines.networks.network import FixedNetwork, Network, Parameter, Specification
from assay.baselines.networks.table import Table

__all__ = [
    "MLP",
    "ConvolutionalEncoder",
    "FixedNetwork",
    "Network",
    "Parameter",
    "Scalars",
    "Specification",
    "Table",
]
