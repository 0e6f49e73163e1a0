"""Judges: what says which of two segments is nearer to a goal."""

from assay.relabeling.judges.asking import JudgeError
from assay.relabeling.judges.endpoint import EndpointJudge
from assay.relabeling.judges.human import HumanJudge
from assay.relabeling.judges.judge import Judge, Pairs, Segments, judge_from_plain, judge_to_plain
from assay.relabeling.judges.scripted import ScriptedTeacher
from assay.relabeling.judges.store import AnswerStore

__all__ = [
    "AnswerStore",
    "EndpointJudge",
    "HumanJudge",
    "Judge",
    "JudgeError",
    "Pairs",
    "ScriptedTeacher",
    "Segments",
    "judge_from_plain",
    "judge_to_plain",
]
