"""Where training curves go besides the Parquet files of the run folders."""

from assay.baselines.training.logging.logger import Logger, logger_named
from assay.baselines.training.logging.tensorboard import TensorBoard
from assay.baselines.training.logging.wandb import WeightsAndBiases

__all__ = ["Logger", "TensorBoard", "WeightsAndBiases", "logger_named"]
