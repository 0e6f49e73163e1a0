"""What to train on a dataset: algorithms that did well on measured datasets near it, and what the data itself shows."""

from assay.analysis.advice.advice import Advice, advice_on
from assay.analysis.advice.comparison import compare_algorithms, near_evidence
from assay.analysis.advice.evidence import evidence_of, load_evidence
from assay.analysis.advice.findings import AdviceFinding, findings_of
from assay.analysis.advice.plane import evidence_plane

__all__ = [
    "Advice",
    "AdviceFinding",
    "advice_on",
    "compare_algorithms",
    "evidence_of",
    "evidence_plane",
    "findings_of",
    "load_evidence",
    "near_evidence",
]
