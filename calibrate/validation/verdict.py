"""From statistics to findings: each doubt of the registry looked for in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibrate.noise_model import NoiseModel
from calibrate.validation.causes import Cause, explain, moved
from calibrate.validation.codes import find_black_clipping, find_left_alignment, find_pile_up, is_left_aligned
from calibrate.validation.diagnoses import DIAGNOSES, Finding, finding
from calibrate.validation.means import OffsetTest, find_drift, find_offset, measure_offset
from calibrate.validation.observed import Observed
from calibrate.validation.ranges import Comparison, compare
from calibrate.validation.structure import find_correlation, find_line_noise, find_uneven_noise

#: Ranges whose variance is this far off say nothing about the shape of the distribution.
_SHAPE_RATIOS = (0.7, 1.4)
#: What changes the distribution along with the variance; what is left over shows when that is mended.
_EXPLAINS_SHAPE = {
    "clipped_black",
    "denoised",
    "excess_noise",
    "extra_row_noise",
    "nonlinearity",
    "read_noise_changed",
    "wrong_gain_setting",
}
#: Noise that differs over the frame explains a misfit of the variances up to so many times its own size.
_UNEVEN_EXPLAINS = 2.5
#: Chi-square that a cause may leave, as a share, to be named where it is not the only one.
_MOST = 0.5


@dataclass(frozen=True)
class Verdict:
    """The comparison, all that is wrong (the weightiest first), and the darks' means (None without darks)."""

    comparison: Comparison
    findings: tuple[Finding, ...]
    offset: OffsetTest | None


def examine(model: NoiseModel, observed: Observed) -> Verdict:
    """Compare what was observed with the model and name what disagrees."""
    offset = measure_offset(model, observed)
    pile_up = find_pile_up(model, observed)
    comparison = compare(model, observed, ceiling_dn=None if pile_up is None else pile_up.code_dn)
    aligned = find_left_alignment(model, observed)
    if aligned and not is_left_aligned(model):
        return Verdict(comparison, tuple(aligned), offset)
    drift, drift_dn = find_drift(model, observed)
    found = [] if pile_up is None else [pile_up.finding]
    found += [*find_black_clipping(model, observed), *drift, *find_line_noise(observed)]
    correlated = find_correlation(observed, comparison)
    uneven, excess = ([], 0.0) if correlated else find_uneven_noise(observed)
    found += correlated
    shifted = find_offset(model, offset, drift_dn)
    codes = {entry.code for entry in shifted}
    shift = offset.shift_dn if offset is not None and "offset_shift" in codes else 0.0
    rate = offset.rate_dn_per_s if offset is not None and "dark_current_changed" in codes else None
    variances = find_causes(model, comparison, (shift, rate or 0.0), found, uneven=excess)
    if any(entry.code == "wrong_gain_setting" for entry in variances):
        # Another gain raises the darks' codes as a dark current would.
        shifted = [entry for entry in shifted if entry.code != "dark_current_changed"]
    if any(entry.code == "nonlinearity" for entry in variances):
        uneven = []  # under uneven light a misfit that grows with the signal differs over the frame
    found += [*shifted, *variances, *uneven]
    # A model of left-aligned codes may still have the right variances; the distribution has gaps of its own.
    shapes = _shapes(comparison, found)
    return Verdict(comparison, (*found, *(aligned if aligned and shapes else shapes)), offset)


def find_causes(
    model: NoiseModel,
    comparison: Comparison,
    moved_means: tuple[float, float] = (0.0, 0.0),
    found: Sequence[Finding] = (),
    *,
    uneven: float = 0.0,
) -> tuple[Finding, ...]:
    """What makes the variances disagree, if they do.

    Parameters
    ----------
    moved_means : (shift_dn, rate_dn_per_s)
        By how much the darks show offset and dark current to lie above the model's.
    found : sequence of Finding
        What is known to be wrong already.
    uneven : float
        By how much noise differs over the frame, rms share of the variance.
    """
    codes = {entry.code for entry in found}
    # Smoothing and clipping change the variances, and what they leave says nothing more about the camera.
    if not comparison.disagrees() or codes & {"denoised", "clipped_black"}:
        return ()
    if "extra_row_noise" in codes:
        rest = [entry.observed_variance_dn2 / (1 + entry.structure_share) for entry in comparison.ranges]
        predicted = [entry.predicted_variance_dn2 for entry in comparison.ranges]
        if not comparison.disagrees(np.subtract(rest, predicted)):
            return ()
    if any(moved_means) and not comparison.disagrees(moved(comparison, *moved_means)):
        return ()
    if comparison.largest_misfit() < _UNEVEN_EXPLAINS * uneven:
        return ()
    explanation = explain(comparison, *moved_means)
    causes = explanation.causes
    if not explanation.is_enough:
        # A cause is named only if it accounts for most of the misfit.
        before = comparison.chi_square()[0]
        causes = tuple(cause for cause in causes[:1] if cause.chi_square_left < _MOST * before)
    out = [_cause(model, comparison, cause, [other.code for other in causes]) for cause in causes]
    if not explanation.is_enough and not uneven:
        known = ""
        if any(entry.code == "over_dispersed" for entry in model.document.fit.flags):
            known = " The fit said so itself: its own levels scatter more than their noise (over_dispersed)."
        out.append(finding("unexplained", percent=100 * comparison.largest_misfit(), known=known))
    return tuple(out)


def _cause(model: NoiseModel, comparison: Comparison, cause: Cause, names: Sequence[str]) -> Finding:
    others = [DIAGNOSES[name].code.replace("_", " ") for name in names if name != cause.code]
    rivals = f" {' and '.join(others).capitalize()} would look the same in these frames." if others else ""
    gain = float(model.camera.system_gain_dn_per_e)
    values: dict[str, object]
    if cause.code == "wrong_gain_setting":
        values = {"ratio": cause.value, "gain_dn_per_e": gain * cause.value, "model_dn_per_e": gain}
    elif cause.code == "excess_noise":
        values = {"factor": cause.value}
    elif cause.code == "nonlinearity":
        top = max(entry.mean_dn for entry in comparison.ranges if entry.kind == "bright")
        values = {"percent": 100 * cause.value, "signal_dn": top - float(model.camera.offset_dn)}
    else:
        read = gain * float(model.camera.read_noise_e)
        values = {"noise_dn": read * float(np.sqrt(max(cause.value, 0.0))), "model_dn": read}
    return finding(cause.code, rivals=rivals, **values)


def _shapes(comparison: Comparison, found: Sequence[Finding]) -> list[Finding]:
    """The range whose distribution is most wrong although nothing found explains it."""
    if {entry.code for entry in found} & _EXPLAINS_SHAPE:
        return []
    low, high = _SHAPE_RATIOS
    wrong = [
        entry
        for entry in comparison.ranges
        if entry.within_validity and entry.transform.shape_disagrees and low < entry.ratio < high
    ]
    if not wrong:
        return []
    worst = max(wrong, key=lambda entry: entry.transform.shape_loss_bits)
    advice = "Look at single differences: outliers, a lamp that flickers, or pixels that differ (fit with --maps)."
    if worst.kind == "dark":
        advice = "Pixels differ in read noise or dark current more than one number says: fit with --maps."
    values = {"mean_dn": worst.mean_dn, "loss_bits": worst.transform.shape_loss_bits, "advice": advice}
    return [finding("noise_shape", kind=worst.kind, **values)]
