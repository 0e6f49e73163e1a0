"""What trained policies are worth: episodes in simulators, and estimates from data."""

from assay.baselines.evaluation.evaluation import Evaluation, EvaluationResult, evaluate

__all__ = ["Evaluation", "EvaluationResult", "evaluate"]
