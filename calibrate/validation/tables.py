"""A check against a table of means and variances, which has no frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibrate.captures import CaptureSet
from calibrate.noise_model import NoiseModel
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_of_files
from calibrate.validation.observed import BINS, Cell, Observed
from calibrate.validation.ranges import Comparison, compare
from calibrate.validation.result import CheckResult, PartResult
from calibrate.validation.verdict import find_causes

FloatArray = NDArray[np.float64]

#: Pixels times pairs of frames that a point is taken to come from, where its scatter does not show less.
_NOMINAL_PAIRS = 50_000


def check_table(model: NoiseModel, captures: CaptureSet) -> CheckResult:
    """Compare a table's points with a noise model.

    Raises
    ------
    PhotonbitsError
        If no point lies within the signals that the model was fitted at.

    Notes
    -----
    Means are signals above the offset, as for a fit. A table does not say how sure its variances are. Their
    relative error is taken from the scatter of observed over predicted from point to point (of second differences,
    which a smooth misfit leaves alone; robust), and never below sqrt(2/50000).
    """
    offset = float(model.camera.offset_dn)
    cells = tuple(
        Cell(
            level=index,
            kind="bright",
            exposure_s=point.exposure_s,
            dark_charge_e=None,
            n_pairs=_NOMINAL_PAIRS,
            mean_dn=offset + point.mean_dn,
            variance_dn2=point.variance_dn2,
            fourth_dn4=3 * point.variance_dn2**2,
            third_dn3=0.0,
            spread_dn2=0.0,
            n_clipped=0,
            n_outliers=0,
            at_black=0,
            histogram=np.zeros(BINS, dtype=np.int64),
        )
        for index, point in enumerate(sorted(captures.points, key=lambda point: point.mean_dn))
    )
    comparison = _with_scatter(compare(model, Observed((), cells, None, 0), merge=False))
    if not np.any(comparison.judged):
        raise PhotonbitsError(
            "no point of the table can be compared with the model",
            where=captures.root,
            legal="means above the offset, below saturation and within validity.signal_dn of the model",
            remedy="Check that the means are signals above the offset",
        )
    notes = ["A table has no frames: distribution, offset, rows and neighbours were not checked."]
    lost, total = comparison.left_out
    if lost:
        notes.append(f"{lost // _NOMINAL_PAIRS} of {total // _NOMINAL_PAIRS} points reach saturation and are left out.")
    beyond = int(np.sum(~comparison.judged))
    if beyond:
        notes.append(f"{beyond} points lie above the signals that the model was fitted at: shown, not judged.")
    n_points = len(captures.points)
    known = {entry.sha256 for entry in model.document.provenance.files}
    n_in_fit = n_points if known & set(sha256_of_files(captures.input_files)) else 0
    if n_in_fit:
        notes.insert(0, "The table was part of the fit: the check is not independent, and agreement says less.")
    part = PartResult(None, comparison, find_causes(model, comparison))
    return CheckResult((part,), n_points, n_in_fit, tuple(notes))


def _with_scatter(comparison: Comparison) -> Comparison:
    """The ranges with errors that allow for the scatter seen from point to point."""
    ratio = np.array([entry.ratio for entry in comparison.ranges])[comparison.judged]
    scatter = 0.0
    if ratio.size >= 5:
        bend = ratio[2:] - 2 * ratio[1:-1] + ratio[:-2]
        scatter = 1.4826 * float(np.median(np.abs(bend))) / np.sqrt(6.0)
    ranges = tuple(
        replace(entry, observed_std_dn2=max(entry.observed_std_dn2, scatter * entry.predicted_variance_dn2))
        for entry in comparison.ranges
    )
    return replace(comparison, ranges=ranges)
