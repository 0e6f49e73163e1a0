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
from assay.baselines.algorithms.percent_bc import PercentBC
from assay.baselines.algorithms.rebrac import ReBRAC
from assay.baselines.algorithms.riql import RIQL
from assay.baselines.algorithms.sac_n import SACN
from assay.baselines.algorithms.td3_bc import TD3BC
from assay.baselines.dry_run import TrainingPlan, plan_training
from assay.baselines.evaluation import Evaluation
from assay.baselines.observation_noise import ObservationNoise
from assay.baselines.off_policy import fitted_q_evaluation, initial_value
from assay.baselines.progress import MemberProgress, TrainingProgress
from assay.baselines.runs import Job, Run
from assay.baselines.suite import Suite, plan_suite, run_suite
from assay.baselines.train import train
from assay.baselines.victim import RunVictim, train_victim

__all__ = [
    "AWAC",
    "BC",
    "CQL",
    "EDAC",
    "IQL",
    "RIQL",
    "SACN",
    "TD3BC",
    "Algorithm",
    "DecisionTransformer",
    "Evaluation",
    "Job",
    "MemberProgress",
    "ObservationNoise",
    "PercentBC",
    "ReBRAC",
    "Run",
    "RunVictim",
    "Suite",
    "TrainingPlan",
    "TrainingProgress",
    "algorithm_named",
    "algorithms",
    "fitted_q_evaluation",
    "initial_value",
    "plan_suite",
    "plan_training",
    "run_suite",
    "train",
    "train_victim",
]
