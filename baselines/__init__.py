"""The runner: algorithms, the population engine, evaluation and suites."""

if __name__ != "assay.baselines":
    raise ImportError(f"import this package as assay.baselines, not as {__name__}")

from assay.baselines.algorithms.algorithm import Algorithm, algorithm_named, algorithms
from assay.baselines.algorithms.awac import AWAC
from assay.baselines.algorithms.bc import BC
from assay.baselines.algorithms.cql import CQL
from assay.baselines.algorithms.decision_transformer import DecisionTransformer
from assay.baselines.algorithms.edac import EDAC
from assay.baselines.algorithms.iql import IQL
from assay.baselines.algorithms.sac_n import SACN
from assay.baselines.algorithms.td3_bc import TD3BC
from assay.baselines.evaluation import Evaluation
from assay.baselines.runs import Job, Run
from assay.baselines.suite import Suite, run_suite
from assay.baselines.train import TrainingProgress, train

__all__ = [
    "AWAC",
    "BC",
    "CQL",
    "EDAC",
    "IQL",
    "SACN",
    "TD3BC",
    "Algorithm",
    "DecisionTransformer",
    "Evaluation",
    "Job",
    "Run",
    "Suite",
    "TrainingProgress",
    "algorithm_named",
    "algorithms",
    "run_suite",
    "train",
]
