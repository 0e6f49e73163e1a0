"""Judges: what says which of two segments is nearer to a goal."""

from assay.relabeling.judges.judge import Judge, Pairs, Segments, judge_from_plain, judge_to_plain
from assay.relabeling.judges.scripted import ScriptedTeacher

__all__ = ["Judge", "Pairs", "ScriptedTeacher", "Segments", "judge_from_plain", "judge_to_plain"]
