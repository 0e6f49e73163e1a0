"""What is an episode worth? Values of episodes, or of groups of them, from policies trained on random subsets."""

from assay.analysis.values.curve import ValueCurve
from assay.analysis.values.estimates import banzhaf_values, draw_subsets, fit_datamodel, noise_ceiling, validate
from assay.analysis.values.leave_one_out import leave_one_out
from assay.analysis.values.plan import ValuePlan, subsets_needed
from assay.analysis.values.result import ValueResult
from assay.analysis.values.value import plan_values

__all__ = [
    "ValueCurve",
    "ValuePlan",
    "ValueResult",
    "banzhaf_values",
    "draw_subsets",
    "fit_datamodel",
    "leave_one_out",
    "noise_ceiling",
    "plan_values",
    "subsets_needed",
    "validate",
]
