"""Judges: what says which of two segments is nearer to a goal."""

from assay.relabeling.judges.asking import JudgeError
from assay.relabeling.judges.encoder import EncoderJudge
from assay.relabeling.judges.endpoint import EndpointJudge
from assay.relabeling.judges.human import HumanJudge
from assay.relabeling.judges.judge import Judge, Pairs, Segments, judge_from_plain, judge_to_plain
from assay.relabeling.judges.progress_server import ProgressServerJudge
from assay.relabeling.judges.scripted import ScriptedTeacher
from assay.relabeling.judges.store import AnswerStore
from assay.relabeling.judges.vision_language import VisionLanguageJudge

__all__ = [
    "AnswerStore",
    "EncoderJudge",
    "EndpointJudge",
    "HumanJudge",
    "Judge",
    "JudgeError",
    "Pairs",
    "ProgressServerJudge",
    "ScriptedTeacher",
    "Segments",
    "VisionLanguageJudge",
    "judge_from_plain",
    "judge_to_plain",
]
