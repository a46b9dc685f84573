"""From a frame of a slanted edge to MTF, noise and the capacity of an assumed signal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.edge import checks
from mi_eval.edge.capacity import FORMS, edge_capacity, radial_grid
from mi_eval.edge.doubts import EdgeWarning, edge_warning, threshold
from mi_eval.edge.fit import FLAT_IN_RISES, EdgeFit, fit_edge, lines_with_room
from mi_eval.edge.locate import Region, find_region, given_region
from mi_eval.edge.noise import mean_model_variance_e2, model_variance_e2
from mi_eval.edge.plane import Plane, edge_plane, read_edge_frame
from mi_eval.edge.result import AssumedSignalCapacity, EdgeMeasurement, Measured
from mi_eval.edge.spread import EdgeSpread, crossing, rise_distance, transfer

FloatArray = NDArray[np.float64]

FREQUENCY = np.arange(0, 101) / 100
_RISE_DRAWS = 50


def measure_edge(
    frame: NDArray[Any] | str | Path,
    noise_model: NoiseModel | str | Path,
    *,
    plane: str | None = None,
    roi: Sequence[int] | None = None,
    exposure_s: float | None = None,
) -> EdgeMeasurement:
    """MTF, noise spectrum, noise-equivalent quanta and assumed-signal capacity from one slanted edge.

    Parameters
    ----------
    frame : ndarray (height, width) or path
        One linear raw frame.
    noise_model : NoiseModel or path
        Of this camera and setting.
    plane : str, optional
        Colour of a mosaic (R, G1, G2, B) or position ("0,1").
    roi : (x, y, width, height), optional
        Region with the edge, in pixels of the plane; found where None.
    exposure_s : float, optional
        Leaves dark charge out of the signal of the noise-equivalent quanta.

    Returns
    -------
    EdgeMeasurement

    Raises
    ------
    PhotonbitsError
        For data that are not raw, codes outside the model's, saturated sides, and edges that are missing, too short,
        too faint, or not slanted.

    Notes
    -----
    ISO 12233: centroids of the lines' derivatives, a line or curve through them, quarter-pixel bins along the normal,
    a Tukey window, the Fourier transform, and the correction of the difference and the binning. The noise model's
    variance of every pixel is carried through to the MTF and everything made of it.
    """
    model = noise_model if isinstance(noise_model, NoiseModel) else NoiseModel.load(noise_model)
    pixels, source = (frame, "frame") if isinstance(frame, np.ndarray) else read_edge_frame(frame)
    if exposure_s is not None and not exposure_s >= 0:
        raise PhotonbitsError(f"exposure_s {exposure_s}", legal="0 or more seconds")
    whole = edge_plane(pixels, model, plane, source)
    region = find_region(whole.charge_e, whole.usable) if roi is None else given_region(whole.charge_e, _box(roi))
    part = whole.crop(region.rows, region.columns)
    part = part if region.upright else part.turned()
    if np.median(part.charge_e[:, :3]) > np.median(part.charge_e[:, -3:]):
        part = part.mirrored()
        mirrored = True
    else:
        mirrored = False
    part, line, kept = lines_with_room(part)
    checks.check_lines(line, source)
    region = _kept_region(region, kept)
    fit = fit_edge(part, line)
    return _measured(whole, part, region, fit, model, exposure_s, mirrored)


def _box(roi: Sequence[int]) -> tuple[int, int, int, int]:
    if len(roi) != 4:
        raise PhotonbitsError(f"region {tuple(roi)}", legal="X,Y,W,H in pixels of the plane")
    x, y, width, height = (int(value) for value in roi)
    return x, y, width, height


def _kept_region(region: Region, kept: tuple[int, int]) -> Region:
    first, last = kept
    if region.upright:
        return Region(region.x, region.y + first, region.width, last - first, True)
    return Region(region.x + first, region.y, last - first, region.height, False)


def _measured(
    whole: Plane,
    part: Plane,
    region: Region,
    fit: EdgeFit,
    model: NoiseModel,
    exposure_s: float | None,
    mirrored: bool,
) -> EdgeMeasurement:
    line, spread = fit.line, fit.spread
    blur = line.place_variance_px2 * float(np.mean(1 / (1 + line.slope**2)))
    curve = transfer(fit.transformed, FREQUENCY, half_px=fit.window_px, extra_blur_px2=blur)
    mtf, std = curve.mtf, curve.mtf_std
    fine = transfer(fit.transformed, np.arange(0, 1.0001, 0.0025), half_px=fit.window_px, extra_blur_px2=blur)
    half, tenth = crossing(fine, 0.5), crossing(fine, 0.1)
    vpp_std_own = float(np.sqrt(sum(_level_variance(part, fit, name) for name in ("dark", "bright"))))
    vpp = fit.bright_e - fit.dark_e
    gain_share = _gain_share(part.model)
    vpp_e = Measured(vpp, float(np.hypot(vpp_std_own, gain_share * vpp)))
    camera = part.model.camera
    gain = float(camera.system_gain_dn_per_e)
    ends_dn = camera.response.evaluate(gain * np.array([fit.dark_e, fit.bright_e]))
    slope_dn = float(ends_dn[1] - ends_dn[0]) / vpp
    dark_entry = part.model.parameter("dark_current_e_per_s")
    dark_charge = 0.0 if exposure_s is None or dark_entry is None else dark_entry.value * exposure_s
    capacities, model_noise = _capacities(part.model, fit, vpp_std_own, blur)
    peak = int(np.argmax(mtf[:51]))
    warnings = list(fit.warnings)
    warnings += checks.doubts_about(
        part, line, spread, fit.sides, vpp, 2 * gain_share, (float(mtf[peak]), float(std[peak]))
    )
    warnings += checks.doubts_about_model(part.model, float(ends_dn[1]), exposure_s)
    if half is None:
        warnings.append(edge_warning("no_mtf50"))
    elif half[1] > threshold("noisy") * half[0]:
        warnings.append(edge_warning("noisy", percent=100 * half[1] / half[0]))
    sign = -1.0 if mirrored else 1.0
    lsf = np.gradient(spread.value_e, spread.position_px) / vpp
    return EdgeMeasurement(
        source=whole.source,
        plane=whole.name,
        pitch=whole.pitch,
        region=(region.x, region.y, region.width, region.height),
        upright=region.upright,
        angle_degrees=Measured(sign * line.angle_degrees, line.angle_std_degrees),
        curve_order=line.order,
        n_lines=line.n_rows,
        line_scatter_px=line.scatter_px,
        dark_e=Measured(fit.dark_e, float(np.sqrt(_level_variance(part, fit, "dark")))),
        bright_e=Measured(fit.bright_e, float(np.sqrt(_level_variance(part, fit, "bright")))),
        vpp_e=vpp_e,
        vpp_dn=Measured(slope_dn * vpp, slope_dn * vpp_std_own),
        dark_charge_e=dark_charge,
        position_px=spread.position_px,
        esf_e=spread.value_e,
        esf_std_e=spread.std_e,
        lsf_per_px=lsf,
        frequency=FREQUENCY,
        mtf=mtf,
        mtf_std=std,
        mtf50=None if half is None else Measured(*half),
        mtf10=None if tenth is None else Measured(*tenth),
        mtf_at_nyquist=Measured(float(mtf[50]), float(std[50])),
        rise_distance_px=_rise(spread, fit),
        sides=fit.sides,
        model_noise_e2=model_noise,
        capacities=capacities,
        warnings=_once(warnings),
        noise_model={"path": None if model.path is None else str(model.path), "sha256": model.sha256},
        picture=whole.charge_e[region.rows, region.columns],
    )


def _once(warnings: list[EdgeWarning]) -> tuple[EdgeWarning, ...]:
    """Each code and message once, in order."""
    return tuple(dict.fromkeys(warnings))


def _level_variance(part: Plane, fit: EdgeFit, name: str) -> float:
    """Variance of a side's mean, e-^2."""
    sign = -1.0 if name == "dark" else 1.0
    count = int(np.count_nonzero(part.usable & (sign * fit.distance_px > FLAT_IN_RISES * fit.rise_px)))
    side = fit.sides.get(name)
    level = fit.dark_e if name == "dark" else fit.bright_e
    one = side.variance_e2 if side is not None else float(model_variance_e2(part.model, np.array([level]))[0])
    return one / max(count, 1)


def _rise(spread: EdgeSpread, fit: EdgeFit) -> Measured:
    """10-90 % distance, with a standard error from redrawn bins."""
    rng = np.random.default_rng(0)
    value = rise_distance(spread.position_px, spread.value_e, fit.dark_e, fit.bright_e)
    noise = rng.standard_normal((_RISE_DRAWS, spread.mean_e.size)) * np.sqrt(spread.variance_e2)
    drawn = [
        rise_distance(spread.position_px, spread.value_e + spread.recentred @ own, fit.dark_e, fit.bright_e)
        for own in noise
    ]
    return Measured(value, float(np.std(drawn)))


def _gain_share(model: NoiseModel) -> float:
    """Standard error of the system gain over its value."""
    entry = model.parameter("system_gain_dn_per_e")
    return 0.0 if entry is None or entry.std is None else float(entry.std / entry.value)


def _capacities(
    model: NoiseModel, fit: EdgeFit, vpp_std_e: float, blur: float
) -> tuple[tuple[AssumedSignalCapacity, ...], float]:
    """All forms against the model's noise, and against the measured spectrum where both sides have one."""
    frequency, edges = radial_grid()
    curve = transfer(fit.transformed, frequency, half_px=fit.window_px, extra_blur_px2=blur)
    vpp = fit.bright_e - fit.dark_e
    noise = mean_model_variance_e2(model, fit.dark_e, fit.bright_e)
    std = _model_noise_std(model, fit.dark_e, fit.bright_e)
    white, white_std = np.full(frequency.size, noise), np.full(frequency.size, std)
    kinds: list[tuple[str, FloatArray, FloatArray, NDArray[np.int64] | None]] = [("model", white, white_std, None)]
    if len(fit.sides) == 2:
        dark, bright = fit.sides["dark"], fit.sides["bright"]
        n = min(dark.frequency.size, bright.frequency.size)
        place = (dark.frequency[-n:] + bright.frequency[-n:]) / 2
        mean = (dark.spectrum_e2[-n:] + bright.spectrum_e2[-n:]) / 2
        error = np.hypot(dark.spectrum_std_e2[-n:], bright.spectrum_std_e2[-n:]) / 2
        nearest = np.argmin(np.abs(frequency[:, None] - place[None, :]), axis=1)
        kinds.append(("measured", mean[nearest], error[nearest], nearest))
    out = []
    for kind, power, error, groups in kinds:
        for form in FORMS:
            found = edge_capacity(form, curve, edges, vpp, vpp_std_e, power, error, groups)
            both = float(np.hypot(found.edge_std, found.noise_std))
            value = Measured(found.value, both)
            out.append(AssumedSignalCapacity(form.name, kind, value, form.prefactor, form.formula, form.source))
    return tuple(out), noise


def _model_noise_std(model: NoiseModel, dark_e: float, bright_e: float) -> float:
    """Standard error of the model's mean noise, relative to the squared step, from gain and read noise.

    The step is fixed in DN: a changed gain changes the charge of both levels with it.
    """
    covariance = model.document.covariance
    if covariance is None:
        return 0.0
    names = ("system_gain_dn_per_e", "read_noise_e")
    known = [name for name in names if name in covariance.names]
    base = mean_model_variance_e2(model, dark_e, bright_e)
    gradient = []
    for name in known:
        value = float(getattr(model.camera, name))
        step = 1e-3 * max(value, 1e-3)
        moved = model.with_parameters(**{name: value + step})
        scale = value / (value + step) if name == "system_gain_dn_per_e" else 1.0
        changed = mean_model_variance_e2(moved, dark_e * scale, bright_e * scale) / scale**2
        gradient.append((changed - base) / step)
    index = [covariance.names.index(name) for name in known]
    matrix = np.array(covariance.matrix)[np.ix_(index, index)]
    slope = np.array(gradient)
    return float(np.sqrt(max(slope @ matrix @ slope, 0.0)))
