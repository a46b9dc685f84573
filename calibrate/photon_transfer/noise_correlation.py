"""Covariance of the temporal noise of different pixels, from pairs of darks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibrate.level_statistics import LevelStatistics
from calibrate.schema import NoiseCorrelationEntry, ParameterEntry

# Line means of smaller frames scatter too much to be worth a number.
_FEWEST_LINES = 16


def measure_noise_correlation(levels: Sequence[LevelStatistics]) -> NoiseCorrelationEntry | None:
    r"""Row noise, column noise and neighbour covariances of the darks; None without pairs of darks.

    The mean of :math:`w` pixels in a row has the variance :math:`\sigma^2/w` where they are independent; what the rows
    of a difference of two darks show beyond it is the noise that a row has in common. Neighbours share that and
    perhaps more. Errors: of :math:`n` squared line means :math:`\sqrt{2/(n-1)}`, of :math:`N` products of neighbours
    :math:`\sigma^2/\sqrt N`.
    """
    pairs = [pair for level in levels if level.kind == "dark" for pair in level.pairs if not pair.rejected]
    pairs = [pair for pair in pairs if min(pair.shape) >= _FEWEST_LINES]
    if not pairs:
        return None
    pixels = np.array([float(pair.n_pixels) for pair in pairs])
    share = pixels / pixels.sum()
    variance = np.array([pair.difference_variance_dn2 / 2 for pair in pairs])
    height = np.array([float(pair.shape[0]) for pair in pairs])
    width = np.array([float(pair.shape[1]) for pair in pairs])
    # What is taken off line means for independent pixels is the whole variance over their length, line noise in it.
    seen_rows = np.array([pair.row_noise_dn2 for pair in pairs])
    seen_columns = np.array([pair.column_noise_dn2 for pair in pairs])
    rows = (seen_rows * (1 - 1 / height) + seen_columns / width) / (1 - 1 / width - 1 / height)
    columns = (seen_columns * (1 - 1 / width) + seen_rows / height) / (1 - 1 / width - 1 / height)
    # About their own mean n values have every product low by the variance over n.
    own = variance / pixels
    across = np.array([pair.neighbour_horizontal for pair in pairs]) / (2 * pixels) * width / (width - 1) + own
    down = np.array([pair.neighbour_vertical for pair in pairs]) / (2 * pixels) * height / (height - 1) + own

    def entry(value: np.ndarray, std: np.ndarray) -> ParameterEntry:
        return ParameterEntry(value=float(share @ value), std=float(np.sqrt(share**2 @ std**2)), unit="DN^2")

    row_std = np.maximum(rows + variance / width, 0.0) * np.sqrt(2 / (height - 1))
    column_std = np.maximum(columns + variance / height, 0.0) * np.sqrt(2 / (width - 1))
    neighbour_std = variance / np.sqrt(pixels)
    return NoiseCorrelationEntry(
        row_noise_dn2=entry(rows, row_std),
        column_noise_dn2=entry(columns, column_std),
        horizontal_neighbour_dn2=entry(across - rows, np.hypot(row_std, neighbour_std)),
        vertical_neighbour_dn2=entry(down - columns, np.hypot(column_std, neighbour_std)),
    )
