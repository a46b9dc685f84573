"""Which doubts a score raises."""

from __future__ import annotations

import numpy as np
from scipy import stats

from calibrate import NoiseModel
from mi_eval.conditional_entropy import ConditionalEntropy
from mi_eval.measurements import FEWEST_GROUPS, Measurements
from mi_eval.warnings import ScoreWarning, threshold, warning


def doubts_of(
    data: Measurements,
    model: NoiseModel,
    noise: ConditionalEntropy,
    ci95: tuple[float, float],
    exposure_s: float | None,
    pixels: int,
    scenes: float | None,
    no_torch: bool = False,
) -> tuple[ScoreWarning, ...]:
    """Every warning that the frames, the model and the estimate give cause for, most serious first."""
    out: list[ScoreWarning] = []
    if ci95[1] < 0:
        out.append(warning("below_zero", low=ci95[0], high=ci95[1]))
    law = noise.law
    if law is not None and law.n_occupied > 0:
        # Twice the log-likelihood ratio against the bare histogram: about chi-square where the model holds.
        limit = stats.chi2.ppf(1 - 1e-6, law.n_occupied)
        # With maps the classes of pixels did not see quite the same light, which adds to it.
        limit *= 2.0 if model.maps else 1.0
        n_pixels = data.patches.n_patches * pixels
        if law.deviance > limit and law.deviance / n_pixels > 1e-3:
            out.append(warning("noise_model_contradicted", deviance=law.deviance, dof=law.n_occupied))
    different = data.n_frames if data.n_scenes is None else data.n_scenes
    if different < FEWEST_GROUPS:
        out.append(warning("frames_split", n_frames=different))
    elif different < threshold("few_frames"):
        out.append(warning("few_frames", n_frames=different))
    if scenes is not None and data.n_frames >= threshold("few_frames"):
        if scenes < threshold("few_scenes"):
            out.append(warning("few_scenes", n_frames=data.n_frames, scenes=scenes))
        elif scenes < threshold("scenes_alike") * data.n_frames:
            factor = float(np.sqrt(data.n_frames / scenes))
            out.append(warning("scenes_alike", n_frames=data.n_frames, scenes=scenes, factor=factor))
    if data.patches.n_patches < threshold("few_patches"):
        out.append(warning("few_patches", n_patches=data.patches.n_patches, n_pixels=pixels))
    if not noise.identifiable:
        out.append(warning("not_identifiable", low=noise.interval_bits[0], high=noise.interval_bits[1]))
    flags = {entry.code for entry in model.document.fit.flags}
    if -noise.correlation_bits > threshold("correlated_noise_corrected"):
        out.append(warning("correlated_noise_corrected", bits=-noise.correlation_bits))
    for code in ("not_measured", "denoised", "correlated_noise", "over_dispersed"):
        # With numbers for it, correlated noise is taken off.
        known = code == "correlated_noise" and model.document.noise_correlation is not None
        if code in flags and not known:
            out.append(warning(code))
    if not model.maps:
        out.append(warning("no_maps"))
    if data.saturated_fraction > threshold("saturated"):
        out.append(warning("saturated", percent=100 * data.saturated_fraction))
    validity = model.document.validity
    if validity is not None and validity.signal_dn is not None:
        top = float(np.quantile(data.patches.codes, 0.999)) - float(model.camera.offset_dn)
        if top > 1.05 * validity.signal_dn[1]:
            out.append(warning("outside_validity", signal_dn=top, limit_dn=validity.signal_dn[1]))
    dark = model.parameter("dark_current_e_per_s")
    if dark is not None and dark.value > 0 and exposure_s is None:
        out.append(warning("dark_unknown"))
    if no_torch:
        out.append(warning("no_torch"))
    return tuple(out)
