"""Checks of recorded robots, one value per episode and dimension; `assess(dataset, per="episode", select="robot")` runs them."""

from assay.metrics.robot.checks import Recording, RobotChecks, Score, episode_check
from assay.metrics.robot.profile import validate_robot

__all__ = ["Recording", "RobotChecks", "Score", "episode_check", "validate_robot"]
