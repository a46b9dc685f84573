"""Names of the parameters and severities of the doubts, for people."""

from __future__ import annotations

from calibrate.noise_model import NoiseModel
from calibrate.plumbing.html import Severity
from calibrate.report.numbers import significant, user_numbers
from calibrate.schema import SensorEntry

LABELS: dict[str, str] = {
    "system_gain_dn_per_e": "System gain K",
    "offset_dn": "Offset",
    "read_noise_e": "Read noise",
    "dark_noise_dn": "Dark noise",
    "dark_current_e_per_s": "Dark current",
    "saturation_dn": "Saturation, code",
    "saturation_e": "Saturation, charge",
    "full_well_e": "Full well",
    "black_clip_dn": "Lowest code",
    "white_clip_dn": "Highest code",
    "prnu_percent": "PRNU",
    "dsnu_e": "DSNU",
    "linearity_error_percent": "Linearity error",
    "light_scatter_percent": "Light scatter",
    "offset_scatter_dn": "Offset scatter",
    "nonlinearity": "Nonlinearity",
    "quantum_efficiency_percent": "Quantum efficiency",
}

#: How much a doubt matters: ``serious`` where a headline number may be wrong by more than its error, ``caution``
#: where an error may be too small or a condition must be kept in mind, ``note`` where something is merely unknown.
SEVERITIES: dict[str, Severity] = {
    "denoised": "serious",
    "over_dispersed": "serious",
    "excess_noise_suspected": "serious",
    "no_darks": "serious",
    "black_clipped": "serious",
    "left_aligned": "serious",
    "photon_transfer_nonlinear": "caution",
    "too_few_levels": "caution",
    "drift": "caution",
    "outliers": "caution",
    "correlated_noise": "caution",
    "coarse_quantisation": "caution",
    "read_noise_not_positive": "caution",
    "light_scatter": "caution",
    "light_unknown": "caution",
    "bit_depth_guessed": "caution",
    "few_frames_for_maps": "caution",
    "not_measured": "caution",
    "no_exposures": "note",
    "excess_noise_stated": "note",
    "one_dark_level": "note",
    "white_clipped": "note",
    "not_saturated": "note",
}
_ORDER: tuple[Severity, ...] = ("serious", "caution", "note", "good")


def severity(code: str) -> Severity:
    """Severity of a flag; ``caution`` for a code that is not listed."""
    return SEVERITIES.get(code, "caution")


def severity_rank(code: str) -> int:
    """Sorting key: the gravest first."""
    return _ORDER.index(severity(code))


def unit_words(unit: str) -> str:
    """A unit as it is printed: e⁻ for electrons, nothing for ``1``.

    Examples
    --------
    >>> unit_words("DN/e-"), unit_words("1")
    ('DN/e⁻', '')
    """
    return "" if unit == "1" else unit.replace("e-", "e⁻").replace("DN^2", "DN²")


def sensor_title(sensor: SensorEntry) -> str:
    """Make and model; ``Unnamed sensor`` where the file names neither."""
    return " ".join(part for part in (sensor.make, sensor.model) if part) or "Unnamed sensor"


def sensor_facts(sensor: SensorEntry, kind: str) -> str:
    """Serial number, mode, gain setting, temperature, size and bit depth in one line."""
    parts = []
    if sensor.serial:
        parts.append(f"serial {sensor.serial}")
    if sensor.mode:
        parts.append(f"mode {sensor.mode}")
    if sensor.gain_setting is not None:
        gain = sensor.gain_setting
        parts.append(f"gain setting {gain:g}" if isinstance(gain, float) else f"gain setting {gain}")
    if sensor.temperature_c is not None:
        parts.append(f"{sensor.temperature_c:g} °C")
    if sensor.shape is not None:
        parts.append(f"{sensor.shape[1]} × {sensor.shape[0]} pixels")
    parts.append("real-valued" if sensor.bit_depth is None else f"{sensor.bit_depth} bit")
    if sensor.cfa:
        parts.append(f"colour filters {sensor.cfa}")
    parts.append(
        {
            "poisson-gaussian": "shot noise and read noise",
            "poisson": "shot noise only",
            "gaussian": "read noise only",
        }.get(kind, kind)
    )
    return " · ".join(parts)


def electrons(count: float) -> str:
    """A number of electrons in running text.

    Examples
    --------
    >>> electrons(1.0), electrons(2.375)
    ('1 electron', '2.38 electrons')
    """
    text = significant(count)
    return f"{text} electron" if text == "1" else f"{text} electrons"


def meaning(model: NoiseModel) -> str:
    """The headline numbers in one or two sentences for somebody who wants to use the camera."""
    numbers = user_numbers(model)
    gain = float(model.camera.system_gain_dn_per_e)
    text = f"One electron raises the code by {significant(gain)} DN, so one DN is {electrons(1 / gain)}"
    if model.camera.kind == "gaussian":
        text += f"; every pixel scatters by {electrons(numbers.dark_noise_e)} at any signal."
    elif numbers.dark_noise_e > 0:
        text += (
            f"; in the dark a pixel scatters by {electrons(numbers.dark_noise_e)}, rounding included, "
            f"and above {electrons(numbers.shot_limited_above_e)} shot noise is larger than that."
        )
    else:
        text += "; there is no noise but shot noise."
    if numbers.saturation_e is not None and numbers.snr_max is not None:
        text += (
            f" At saturation, {electrons(numbers.saturation_e)}, the signal is "
            f"{significant(numbers.snr_max)} times its noise"
        )
        if numbers.dynamic_range_db is not None:
            ratio = 10 ** (numbers.dynamic_range_db / 20)
            text += (
                f", and {significant(ratio)} times the smallest signal that equals its noise "
                f"(dynamic range {numbers.dynamic_range_db:.1f} dB)"
            )
        text += "."
    return text
