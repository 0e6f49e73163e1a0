"""What is an episode worth? Values of episodes, or of groups of them, from policies trained on random subsets."""

from assay.analysis.values.estimates import banzhaf_values, draw_subsets, fit_datamodel, noise_ceiling, validate
from assay.analysis.values.result import ValueResult

__all__ = ["ValueResult", "banzhaf_values", "draw_subsets", "fit_datamodel", "noise_ceiling", "validate"]
