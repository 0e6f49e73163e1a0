"""Did a change to the data help? Paired comparisons with verdicts whose error rates hold.

`assay.trial` trains and compares; `compare_runs` compares runs that are there; `compare` compares scores. `curation` compares the sides of
a curation audit, for `assay.audit`.
"""

from assay.analysis.trials.comparison import Comparison, Pair, Rules, compare, judge
from assay.analysis.trials.curation import CurationResult, curation, curation_scores
from assay.analysis.trials.finished_runs import compare_runs
from assay.analysis.trials.power import predicted_power, seeds_needed, smallest_difference
from assay.analysis.trials.result import TrialResult

__all__ = [
    "Comparison",
    "CurationResult",
    "Pair",
    "Rules",
    "TrialResult",
    "compare",
    "compare_runs",
    "curation",
    "curation_scores",
    "judge",
    "predicted_power",
    "seeds_needed",
    "smallest_difference",
]
