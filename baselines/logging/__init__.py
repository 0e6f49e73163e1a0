"""Where training curves go besides the Parquet files of the run folders."""

from assay.baselines.logging.logger import Logger, logger_named
from assay.baselines.logging.tensorboard import TensorBoard
from assay.baselines.logging.wandb import WeightsAndBiases

__all__ = ["Logger", "TensorBoard", "WeightsAndBiases", "logger_named"]
