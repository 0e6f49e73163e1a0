"""The runner: algorithms, the population engine, evaluation and suites."""

if __name__ != "assay.baselines":
    raise ImportError(f"import this package as assay.baselines, not as {__name__}")

from typing import TYPE_CHECKING, Any

from assay.baselines.algorithms.registry import algorithm_named, algorithms
from assay.datasets.arguments import name_wrong_arguments

if TYPE_CHECKING:
    from assay.baselines.algorithms.actor_critic.a2pr import A2PR
    from assay.baselines.algorithms.actor_critic.awac import AWAC
    from assay.baselines.algorithms.actor_critic.bcq import BCQ
    from assay.baselines.algorithms.actor_critic.cql import CQL
    from assay.baselines.algorithms.actor_critic.edac import EDAC
    from assay.baselines.algorithms.actor_critic.iql import IQL
    from assay.baselines.algorithms.actor_critic.odice import ODICE
    from assay.baselines.algorithms.actor_critic.prdc import PRDC
    from assay.baselines.algorithms.actor_critic.rebrac import ReBRAC
    from assay.baselines.algorithms.actor_critic.riql import RIQL
    from assay.baselines.algorithms.actor_critic.sac_n import SACN
    from assay.baselines.algorithms.actor_critic.td3_bc import TD3BC
    from assay.baselines.algorithms.algorithm import Algorithm
    from assay.baselines.algorithms.continual.er import ER
    from assay.baselines.algorithms.continual.oer import OER
    from assay.baselines.algorithms.direct import DirectAlgorithm
    from assay.baselines.algorithms.discrete.bc import DiscreteBC
    from assay.baselines.algorithms.discrete.bcq import DiscreteBCQ
    from assay.baselines.algorithms.discrete.bve import BVE
    from assay.baselines.algorithms.discrete.cql import DiscreteCQL
    from assay.baselines.algorithms.discrete.crr import CRR
    from assay.baselines.algorithms.discrete.dqn import DQN
    from assay.baselines.algorithms.discrete.iql import DiscreteIQL
    from assay.baselines.algorithms.discrete.mce import MCE
    from assay.baselines.algorithms.discrete.qrdqn import QRDQN
    from assay.baselines.algorithms.discrete.rem import REM
    from assay.baselines.algorithms.generative.fql import FQL
    from assay.baselines.algorithms.generative.ifql import IFQL
    from assay.baselines.algorithms.goal_conditioned.gcbc import GCBC
    from assay.baselines.algorithms.goal_conditioned.gciql import GCIQL
    from assay.baselines.algorithms.goal_conditioned.smore import SMORe
    from assay.baselines.algorithms.imitation.bc import BC
    from assay.baselines.algorithms.imitation.mixture_bc import MixtureBC
    from assay.baselines.algorithms.imitation.percent_bc import PercentBC
    from assay.baselines.algorithms.model_based.cocoa import COCOA
    from assay.baselines.algorithms.model_based.cocoa_cql import COCOACQL
    from assay.baselines.algorithms.model_based.cocoa_iql import COCOAIQL
    from assay.baselines.algorithms.model_based.cocoa_mobile import COCOAMOBILE
    from assay.baselines.algorithms.model_based.cocoa_ravl import COCOARAVL
    from assay.baselines.algorithms.model_based.mobile import MOBILE
    from assay.baselines.algorithms.model_based.mopo import MOPO
    from assay.baselines.algorithms.model_based.morec import MOREC
    from assay.baselines.algorithms.model_based.morec_mobile import MORECMOBILE
    from assay.baselines.algorithms.model_based.ravl import RAVL
    from assay.baselines.algorithms.safe.bc_safe import BCSafe
    from assay.baselines.algorithms.safe.cpq import CPQ
    from assay.baselines.algorithms.safe.fisor import FISOR
    from assay.baselines.algorithms.safe.iql_lag import IQLLag
    from assay.baselines.algorithms.sequence.decision_transformer import DecisionTransformer
    from assay.baselines.algorithms.theory.doc import TabularDoC
    from assay.baselines.algorithms.theory.drpvi import DRPVI
    from assay.baselines.algorithms.theory.drvi_l import DRVIL
    from assay.baselines.algorithms.theory.lcb import LCB
    from assay.baselines.algorithms.theory.pevi import PEVI
    from assay.baselines.algorithms.theory.r2pvi import R2PVI
    from assay.baselines.algorithms.theory.rcsl import TabularRCSL
    from assay.baselines.algorithms.theory.vi_lcb import VILCB
    from assay.baselines.evaluation.evaluation import Evaluation
    from assay.baselines.evaluation.observation_noise import ObservationNoise
    from assay.baselines.evaluation.off_policy import fitted_q_evaluation, initial_value
    from assay.baselines.runs.job import Job
    from assay.baselines.runs.run import Run
    from assay.baselines.suites.search import Proposal, search
    from assay.baselines.suites.suite import Suite, plan_suite, run_suite
    from assay.baselines.training.dry_run import TrainingPlan, plan_training
    from assay.baselines.training.options import TrainingOptions
    from assay.baselines.training.progress import MemberProgress, TrainingProgress
    from assay.baselines.training.run_victim import RunVictim, train_victim
    from assay.baselines.training.train import train

__all__ = [
    "A2PR",
    "AWAC",
    "BC",
    "BCQ",
    "BVE",
    "COCOA",
    "COCOACQL",
    "COCOAIQL",
    "COCOAMOBILE",
    "COCOARAVL",
    "CPQ",
    "CQL",
    "CRR",
    "DQN",
    "DRPVI",
    "DRVIL",
    "EDAC",
    "ER",
    "FISOR",
    "FQL",
    "GCBC",
    "GCIQL",
    "IFQL",
    "IQL",
    "LCB",
    "MCE",
    "MOBILE",
    "MOPO",
    "MOREC",
    "MORECMOBILE",
    "ODICE",
    "OER",
    "PEVI",
    "PRDC",
    "QRDQN",
    "R2PVI",
    "RAVL",
    "REM",
    "RIQL",
    "SACN",
    "TD3BC",
    "VILCB",
    "Algorithm",
    "BCSafe",
    "DecisionTransformer",
    "DirectAlgorithm",
    "DiscreteBC",
    "DiscreteBCQ",
    "DiscreteCQL",
    "DiscreteIQL",
    "Evaluation",
    "IQLLag",
    "Job",
    "MemberProgress",
    "MixtureBC",
    "ObservationNoise",
    "PercentBC",
    "Proposal",
    "ReBRAC",
    "Run",
    "RunVictim",
    "SMORe",
    "Suite",
    "TabularDoC",
    "TabularRCSL",
    "TrainingOptions",
    "TrainingPlan",
    "TrainingProgress",
    "algorithm_named",
    "algorithms",
    "fitted_q_evaluation",
    "initial_value",
    "plan_suite",
    "plan_training",
    "run_suite",
    "search",
    "train",
    "train_victim",
]

_HOME_OF = {
    "ER": "assay.baselines.algorithms.continual.er",
    "OER": "assay.baselines.algorithms.continual.oer",
    "DirectAlgorithm": "assay.baselines.algorithms.direct",
    "BVE": "assay.baselines.algorithms.discrete.bve",
    "MCE": "assay.baselines.algorithms.discrete.mce",
    "DQN": "assay.baselines.algorithms.discrete.dqn",
    "QRDQN": "assay.baselines.algorithms.discrete.qrdqn",
    "REM": "assay.baselines.algorithms.discrete.rem",
    "DiscreteBC": "assay.baselines.algorithms.discrete.bc",
    "DiscreteBCQ": "assay.baselines.algorithms.discrete.bcq",
    "CRR": "assay.baselines.algorithms.discrete.crr",
    "DiscreteIQL": "assay.baselines.algorithms.discrete.iql",
    "DiscreteCQL": "assay.baselines.algorithms.discrete.cql",
    "FQL": "assay.baselines.algorithms.generative.fql",
    "IFQL": "assay.baselines.algorithms.generative.ifql",
    "GCBC": "assay.baselines.algorithms.goal_conditioned.gcbc",
    "GCIQL": "assay.baselines.algorithms.goal_conditioned.gciql",
    "SMORe": "assay.baselines.algorithms.goal_conditioned.smore",
    "COCOA": "assay.baselines.algorithms.model_based.cocoa",
    "COCOACQL": "assay.baselines.algorithms.model_based.cocoa_cql",
    "COCOAIQL": "assay.baselines.algorithms.model_based.cocoa_iql",
    "COCOAMOBILE": "assay.baselines.algorithms.model_based.cocoa_mobile",
    "COCOARAVL": "assay.baselines.algorithms.model_based.cocoa_ravl",
    "MOBILE": "assay.baselines.algorithms.model_based.mobile",
    "MOPO": "assay.baselines.algorithms.model_based.mopo",
    "MOREC": "assay.baselines.algorithms.model_based.morec",
    "MORECMOBILE": "assay.baselines.algorithms.model_based.morec_mobile",
    "RAVL": "assay.baselines.algorithms.model_based.ravl",
    "BCSafe": "assay.baselines.algorithms.safe.bc_safe",
    "CPQ": "assay.baselines.algorithms.safe.cpq",
    "FISOR": "assay.baselines.algorithms.safe.fisor",
    "IQLLag": "assay.baselines.algorithms.safe.iql_lag",
    "LCB": "assay.baselines.algorithms.theory.lcb",
    "DRPVI": "assay.baselines.algorithms.theory.drpvi",
    "DRVIL": "assay.baselines.algorithms.theory.drvi_l",
    "TabularRCSL": "assay.baselines.algorithms.theory.rcsl",
    "PEVI": "assay.baselines.algorithms.theory.pevi",
    "R2PVI": "assay.baselines.algorithms.theory.r2pvi",
    "TabularDoC": "assay.baselines.algorithms.theory.doc",
    "VILCB": "assay.baselines.algorithms.theory.vi_lcb",
    "A2PR": "assay.baselines.algorithms.actor_critic.a2pr",
    "AWAC": "assay.baselines.algorithms.actor_critic.awac",
    "Algorithm": "assay.baselines.algorithms.algorithm",
    "BC": "assay.baselines.algorithms.imitation.bc",
    "BCQ": "assay.baselines.algorithms.actor_critic.bcq",
    "CQL": "assay.baselines.algorithms.actor_critic.cql",
    "DecisionTransformer": "assay.baselines.algorithms.sequence.decision_transformer",
    "EDAC": "assay.baselines.algorithms.actor_critic.edac",
    "Evaluation": "assay.baselines.evaluation.evaluation",
    "IQL": "assay.baselines.algorithms.actor_critic.iql",
    "Job": "assay.baselines.runs.job",
    "MemberProgress": "assay.baselines.training.progress",
    "ObservationNoise": "assay.baselines.evaluation.observation_noise",
    "MixtureBC": "assay.baselines.algorithms.imitation.mixture_bc",
    "PercentBC": "assay.baselines.algorithms.imitation.percent_bc",
    "RIQL": "assay.baselines.algorithms.actor_critic.riql",
    "ODICE": "assay.baselines.algorithms.actor_critic.odice",
    "PRDC": "assay.baselines.algorithms.actor_critic.prdc",
    "Proposal": "assay.baselines.suites.search",
    "ReBRAC": "assay.baselines.algorithms.actor_critic.rebrac",
    "Run": "assay.baselines.runs.run",
    "RunVictim": "assay.baselines.training.run_victim",
    "SACN": "assay.baselines.algorithms.actor_critic.sac_n",
    "Suite": "assay.baselines.suites.suite",
    "TD3BC": "assay.baselines.algorithms.actor_critic.td3_bc",
    "TrainingOptions": "assay.baselines.training.options",
    "TrainingPlan": "assay.baselines.training.dry_run",
    "TrainingProgress": "assay.baselines.training.progress",
    "fitted_q_evaluation": "assay.baselines.evaluation.off_policy",
    "initial_value": "assay.baselines.evaluation.off_policy",
    "plan_suite": "assay.baselines.suites.suite",
    "plan_training": "assay.baselines.training.dry_run",
    "run_suite": "assay.baselines.suites.suite",
    "search": "assay.baselines.suites.search",
    "train": "assay.baselines.training.train",
    "train_victim": "assay.baselines.training.run_victim",
}


def __getattr__(name: str) -> Any:
    # Names are looked up when first used: reading run folders needs no torch.
    from importlib import import_module

    if name in _HOME_OF:
        globals()[name] = getattr(import_module(_HOME_OF[name]), name)
        name_wrong_arguments(__name__, [name])
        return globals()[name]
    raise AttributeError(f"module 'assay.baselines' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


name_wrong_arguments(__name__, ["algorithm_named", "algorithms"])
