"""Domains: which changes of a transition the dynamics of a task allow, and what progress is. One file for each."""

from assay.augmentation.domains.ant_maze import AntMaze
from assay.augmentation.domains.parking import Parking
from assay.augmentation.domains.point_maze import PointMaze
from assay.augmentation.domains.soccer import Soccer

__all__ = ["AntMaze", "Parking", "PointMaze", "Soccer"]
