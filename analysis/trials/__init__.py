"""Did a change to the data help? Paired comparisons with verdicts whose error rates hold.

`assay.trial` trains and compares; `compare_runs` compares runs that are there; `compare` compares scores.
"""

from assay.analysis.trials.comparison import Comparison, Pair, Rules, compare, judge
from assay.analysis.trials.finished_runs import compare_runs
from assay.analysis.trials.power import predicted_power, seeds_needed, smallest_difference
from assay.analysis.trials.result import TrialResult

__all__ = [
    "Comparison",
    "Pair",
    "Rules",
    "TrialResult",
    "compare",
    "compare_runs",
    "judge",
    "predicted_power",
    "seeds_needed",
    "smallest_difference",
]
