"""Transforms that fill in missing labels, each with its uncertainty, and what hides them to measure that."""

if __name__ != "assay.relabeling":
    raise ImportError(f"import this package as assay.relabeling, not as {__name__}")

from assay.datasets.arguments import name_wrong_arguments
from assay.relabeling.hide_actions import HideActions
from assay.relabeling.hindsight_goals import HindsightGoals
from assay.relabeling.inverse_dynamics import InverseDynamicsLabels
from assay.relabeling.judge_quality import JudgeQuality, judge_quality
from assay.relabeling.judged_progress import JudgedProgress
from assay.relabeling.judges import (
    EncoderJudge,
    EndpointJudge,
    HumanJudge,
    ProgressServerJudge,
    ScriptedTeacher,
    VisionLanguageJudge,
)
from assay.relabeling.label_error import label_error
from assay.relabeling.labelled_only import LabelledOnly, RestoreTruth
from assay.relabeling.latent_actions import LatentActionLabels
from assay.relabeling.nearest_neighbour import NearestNeighbourLabels
from assay.relabeling.one_step import OneStepLabels
from assay.relabeling.preferences.agreement import ranking_accuracy
from assay.relabeling.preferences.labels import PreferenceRewardLabels
from assay.relabeling.progress import ProgressLabels, read_progress, write_progress
from assay.relabeling.simple_rewards import ColumnRewards, ConstantRewards, SparseRewards
from assay.relabeling.success import SuccessLabels
from assay.relabeling.task_measure import TaskMeasure
from assay.relabeling.uncertain_labels import UncertainLabels

__all__ = [
    "ColumnRewards",
    "ConstantRewards",
    "EncoderJudge",
    "EndpointJudge",
    "HideActions",
    "HindsightGoals",
    "HumanJudge",
    "InverseDynamicsLabels",
    "JudgeQuality",
    "JudgedProgress",
    "LabelledOnly",
    "LatentActionLabels",
    "NearestNeighbourLabels",
    "OneStepLabels",
    "PreferenceRewardLabels",
    "ProgressLabels",
    "ProgressServerJudge",
    "RestoreTruth",
    "ScriptedTeacher",
    "SparseRewards",
    "SuccessLabels",
    "TaskMeasure",
    "UncertainLabels",
    "VisionLanguageJudge",
    "judge_quality",
    "label_error",
    "ranking_accuracy",
    "read_progress",
    "write_progress",
]

name_wrong_arguments(__name__, __all__)
