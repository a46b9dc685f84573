"""What makes an edge unusable, and what makes its numbers doubtful."""

from __future__ import annotations

import numpy as np

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.edge.doubts import EdgeWarning, edge_warning, threshold
from mi_eval.edge.line import EdgeLine
from mi_eval.edge.locate import FEWEST_LINES
from mi_eval.edge.noise import SideNoise
from mi_eval.edge.plane import Plane
from mi_eval.edge.spread import EdgeSpread

_MOST_CLIPPED = 0.02
_LOWEST_SNR = 2.0
_NEAREST_DIAGONAL_DEGREES = 43.0
_DEMOSAICED_CORRELATION = 0.2
_DEMOSAICED_VARIANCE_RATIO = 1.5
_LEAST_NOISE = 0.05
_MOSAIC_SHARE = 0.03
_SIGMAS = 5.0


def check_lines(line: EdgeLine, where: str) -> None:
    """Raise PhotonbitsError for an edge that is too short, too upright or too diagonal."""
    if line.n_rows < FEWEST_LINES:
        raise PhotonbitsError(
            f"the edge crosses {line.n_rows} lines of the region",
            where=where,
            legal=f"{FEWEST_LINES} lines or more with room on both sides",
            remedy="Use a longer edge, or a region that follows it",
        )
    angle = abs(line.angle_degrees)
    if angle > _NEAREST_DIAGONAL_DEGREES:
        raise PhotonbitsError(
            f"the edge leans by {angle:.1f} degrees",
            where=where,
            legal=f"up to {_NEAREST_DIAGONAL_DEGREES:.0f} degrees; 3 to 10 are best",
            remedy="Turn the chart",
        )
    if columns_crossed(line) < 1.0:
        raise PhotonbitsError(
            f"the edge leans by {angle:.2f} degrees and crosses {columns_crossed(line):.2f} pixels over "
            f"{line.n_rows} lines",
            where=where,
            legal="one whole pixel or more: every phase of the pixels must be seen",
            remedy="Tilt the chart by 3 to 10 degrees, or use a longer edge",
        )


def columns_crossed(line: EdgeLine) -> float:
    """Pixels that the edge moves from the first line to the last."""
    return float(np.ptp(line.place_px))


def check_contrast(dark_e: float, bright_e: float, variance_e2: float, where: str) -> None:
    """Raise PhotonbitsError unless the step stands out of the noise of one pixel."""
    snr = (bright_e - dark_e) / float(np.sqrt(variance_e2))
    if snr < _LOWEST_SNR:
        raise PhotonbitsError(
            f"the step of {bright_e - dark_e:.3g} e- is {snr:.1f} times the noise of a pixel",
            where=where,
            legal=f"{_LOWEST_SNR:.0f} times or more; 20 or more are better",
            remedy="Use more light, or a chart of more contrast",
        )


def clipped_share(part: Plane, side: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> float:
    """Share of the pixels of a side that sit at either clip."""
    camera = part.model.camera
    if part.model.bit_depth is None or not np.any(side):
        return 0.0
    codes = part.codes[side]
    clipped = (codes >= camera.white_clip_dn) | (codes <= camera.black_clip_dn)
    flat_from = part.model.camera.response.full_well_dn
    if flat_from is not None:
        top = float(camera.response.evaluate(np.array(flat_from))) + float(camera.offset_dn)
        clipped |= codes >= np.floor(top)
    return float(np.mean(clipped))


def check_clipping(share: float, side: str, where: str) -> list[EdgeWarning]:
    """A doubt about clipped pixels; PhotonbitsError where there are many."""
    if share > _MOST_CLIPPED:
        raise PhotonbitsError(
            f"{100 * share:.3g} % of the pixels of the {side} side are saturated or clipped",
            where=where,
            legal=f"{100 * _MOST_CLIPPED:.0f} % or less",
            remedy="Expose so that both sides lie within the codes" if side == "bright" else "Raise the black level",
        )
    return [edge_warning("clipped", percent=100 * share, side=side)] if share > threshold("clipped") else []


def check_raw(sides: dict[str, SideNoise], plane: Plane) -> None:
    """Raise PhotonbitsError for mosaics taken as one plane and for demosaiced or denoised data."""
    for name, side in sides.items():
        mosaic = side.phase_mean_spread > 2 * _SIGMAS and side.phase_mean_share > _MOSAIC_SHARE
        if mosaic and plane.pitch == 1:
            raise PhotonbitsError(
                f"the pixels of every 2 x 2 square differ by {100 * side.phase_mean_share:.0f} % on the {name} side",
                where=plane.source,
                legal="a frame without colour filters, or one plane of a mosaic",
                remedy="Choose a plane, for example --plane 0,0",
            )
        if side.ratio < _LEAST_NOISE:
            raise PhotonbitsError(
                f"the {name} side has {side.ratio:.2g} times the noise variance of the noise model",
                where=plane.source,
                legal=f"{_LEAST_NOISE:g} times or more: raw codes of this camera",
                remedy="Use one raw frame, not an average or a denoised one, and the noise model of its setting",
            )
        correlation = max(side.correlation)
        limit = max(_DEMOSAICED_CORRELATION, _SIGMAS / float(np.sqrt(side.n_pixels)))
        uneven = side.phase_variance_ratio > max(_DEMOSAICED_VARIANCE_RATIO, 1 + 2 * _SIGMAS * side.phase_variance_std)
        if correlation > limit or uneven:
            what = (
                f"noise of neighbouring pixels correlates by {correlation:.2f}"
                if correlation > limit
                else f"noise of the four pixels of every 2 x 2 square differs {side.phase_variance_ratio:.1f} times"
            )
            raise PhotonbitsError(
                f"{what} on the {name} side: the frame was demosaiced, denoised or resampled",
                where=plane.source,
                legal="raw codes of one plane, whose pixels have noise of their own",
                remedy="Save raw frames without any processing",
            )


def doubts_about(
    plane: Plane,
    line: EdgeLine,
    spread: EdgeSpread,
    sides: dict[str, SideNoise],
    vpp_e: float,
    gain_std_share: float,
    mtf_peak: tuple[float, float],
) -> list[EdgeWarning]:
    """Doubts from line, spread function and noise; ``mtf_peak`` is the largest MTF and its standard error."""
    out: list[EdgeWarning] = []
    for name in ("dark", "bright"):
        if name not in sides:
            out.append(edge_warning("few_flat_pixels", side=name))
            continue
        side = sides[name]
        off = side.ratio - 1
        if abs(off) > max(0.1, _SIGMAS * side.ratio_std + 2 * gain_std_share):
            code = "noise_above_model" if off > 0 else "noise_below_model"
            out.append(edge_warning(code, side=name, ratio=side.ratio))
        correlation = max(side.correlation, key=abs)
        if abs(correlation) > max(threshold("correlated_noise"), _SIGMAS / np.sqrt(side.n_pixels)):
            out.append(edge_warning("correlated_noise", correlation=correlation))
        if abs(side.trend_e) > threshold("uneven_light") * vpp_e + 6 * side.mean_std_e * np.sqrt(6):
            out.append(edge_warning("uneven_light", percent=100 * side.trend_e / vpp_e, side=name))
    if len(sides) == 2:
        dark, bright = sides["dark"], sides["bright"]
        observed = bright.variance_e2 / dark.variance_e2
        expected = bright.model_variance_e2 / dark.model_variance_e2
        std = observed * float(np.hypot(bright.ratio_std / bright.ratio, dark.ratio_std / dark.ratio))
        if abs(observed - expected) > max(0.25 * expected, _SIGMAS * std):
            out.append(edge_warning("nonlinear_data", observed=observed, expected=expected))
    out += _sharpening(spread, sides, vpp_e, mtf_peak)
    bend = float(np.ptp(line.place_px - np.polyval(np.polyfit(np.arange(line.n_rows), line.place_px, 1),
                                                   np.arange(line.n_rows))))  # fmt: skip
    if line.order > 1 and bend > threshold("curved_edge"):
        out.append(edge_warning("curved_edge", bend=bend, order=line.order))
    calm = np.nanmax([1.0, spread.residual_ratio[0], spread.residual_ratio[2]])
    if spread.residual_ratio[1] > threshold("ragged_edge") * calm:
        out.append(edge_warning("ragged_edge", ratio=spread.residual_ratio[1] / calm))
    if columns_crossed(line) < threshold("low_angle_span"):
        out.append(edge_warning("low_angle_span", cycles=columns_crossed(line)))
    return out


def _sharpening(
    spread: EdgeSpread, sides: dict[str, SideNoise], vpp_e: float, mtf_peak: tuple[float, float]
) -> list[EdgeWarning]:
    """Overshoot of the spread function beyond its sides, or an MTF above 1.05, beyond their errors."""
    value = np.convolve(np.pad(spread.value_e, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    std = spread.std_e / np.sqrt(3)
    near = np.abs(spread.position_px) < 6
    over = 0.0
    for name, sign in (("dark", -1.0), ("bright", 1.0)):
        if name in sides:
            beyond = sign * (value - sides[name].mean_e) - 4 * std
            over = max(over, float(np.max(np.where(near, beyond, 0.0))) / vpp_e)
    peak, peak_std = mtf_peak
    if over > 0.03 or peak - 3 * peak_std > 1.05:
        return [edge_warning("sharpened", overshoot=100 * over, peak=peak)]
    return []


def doubts_about_model(model: NoiseModel, signal_dn: float, exposure_s: float | None) -> list[EdgeWarning]:
    """Doubts that the noise model itself raises for a signal that reaches ``signal_dn`` above the offset."""
    out: list[EdgeWarning] = []
    if any(entry.code == "not_measured" for entry in model.document.fit.flags):
        out.append(edge_warning("not_measured"))
    validity = model.document.validity
    if validity is not None and validity.signal_dn is not None and signal_dn > 1.05 * validity.signal_dn[1]:
        out.append(edge_warning("outside_validity", signal_dn=signal_dn, limit_dn=validity.signal_dn[1]))
    dark = model.parameter("dark_current_e_per_s")
    if dark is not None and dark.value > 0 and exposure_s is None:
        out.append(edge_warning("dark_unknown"))
    return out
