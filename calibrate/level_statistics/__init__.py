"""The single streaming pass over the frames: exact sums, a few frames in memory at a time."""

from calibrate.level_statistics.bursts import BurstStatistics, measure_bursts
from calibrate.level_statistics.covariances import NeighbourCovariances, correlations_rise, measure_covariances
from calibrate.level_statistics.levels import LevelStatistics, measure_levels
from calibrate.level_statistics.outliers import reject_outliers
from calibrate.level_statistics.pairs import PairSums
from calibrate.level_statistics.sums import pair_sums

__all__ = [
    "BurstStatistics",
    "LevelStatistics",
    "NeighbourCovariances",
    "PairSums",
    "correlations_rise",
    "measure_bursts",
    "measure_covariances",
    "measure_levels",
    "pair_sums",
    "reject_outliers",
]
