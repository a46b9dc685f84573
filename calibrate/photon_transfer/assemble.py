"""From a fit to the noise-model document: derived numbers, their errors, and the record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import __version__
from calibrate.captures.capture_set import CaptureSet
from calibrate.level_statistics import LevelStatistics
from calibrate.photon_transfer.data import PhotonTransferData, in_order_of_fit
from calibrate.photon_transfer.fit import Choice
from calibrate.photon_transfer.flags import raise_flags
from calibrate.photon_transfer.gauss_newton import FEWEST_LEVELS_FOR_SCATTER, Candidate
from calibrate.photon_transfer.likelihood import Nuisance, error_covariance
from calibrate.photon_transfer.noise_correlation import measure_noise_correlation
from calibrate.photon_transfer.saturation import Saturation, linearity_error_percent
from calibrate.schema import (
    PARAMETERS,
    SCHEMA_NAME,
    SCHEMA_VERSION,
    BrighterFatterEntry,
    CandidateEntry,
    FitEntry,
    MeasurementEntry,
    NoiseModelDocument,
    NonlinearityEntry,
    ParameterEntry,
)

FloatArray = NDArray[np.float64]
METHOD = "joint fit of means, pair variances and darks; reweighted Gauss-Newton, light scatter by restricted likelihood"


def build_document(
    captures: CaptureSet,
    levels: tuple[LevelStatistics, ...],
    data: PhotonTransferData,
    choice: Choice,
    saturation: Saturation | None,
    guessed_bit_depth: int | None,
    digests: Sequence[str],
) -> NoiseModelDocument:
    """The noise-model file's content; ``captures.bit_depth`` is the one decided on.

    ``digests`` are those of `files_of`, in its order.
    """
    fit = choice.chosen
    derived = _Derived(fit, data.light_unit)
    parameters: dict[str, Any] = dict(derived.parameters)
    names, jacobian = derived.names, derived.jacobian
    if saturation is not None:
        parameters["saturation_dn"] = _entry("saturation_dn", saturation.code_dn, saturation.code_std_dn)
        parameters["saturation_e"] = _entry("saturation_e", saturation.charge_e, saturation.charge_std_e)
        if saturation.is_full_well:
            parameters["full_well_e"] = _entry("full_well_e", saturation.charge_e, saturation.charge_std_e)
    bit_depth = captures.bit_depth
    if bit_depth is not None:
        parameters["black_clip_dn"] = _entry("black_clip_dn", 0.0, None)
        white = data.white_clip_dn if data.white_clip_dn is not None else 2.0**bit_depth - 1
        parameters["white_clip_dn"] = _entry("white_clip_dn", white, None)
    top = saturation.code_dn if saturation else float(np.max(data.mean_dn[data.used_bright]))
    linearity = linearity_error_percent(data, fit, top)
    if linearity is not None:
        parameters["linearity_error_percent"] = _entry("linearity_error_percent", linearity, None)
    if fit.layout.index("responsivity") is not None:
        if int(np.sum(data.used_bright)) >= FEWEST_LEVELS_FOR_SCATTER:
            parameters["light_scatter_percent"] = _entry("light_scatter_percent", 100 * fit.nuisance.light, None)
        if fit.nuisance.offset_dn > 0:
            parameters["offset_scatter_dn"] = _entry("offset_scatter_dn", fit.nuisance.offset_dn, None)
    if fit.layout.degree:
        coefficients = fit.layout.coefficients(fit.theta)
        std = np.sqrt(np.maximum(np.diag(fit.covariance), 0.0))[-fit.layout.degree :]
        parameters["nonlinearity"] = NonlinearityEntry(
            form=fit.layout.form,
            coefficients=tuple(float(c) for c in coefficients),
            std=tuple(float(s) for s in std),
            scale_dn=fit.layout.scale_dn,
            unit="1",
        )
    flags = raise_flags(captures, levels, data, choice, saturation, guessed_bit_depth)
    ordered = {name: parameters[name] for name in PARAMETERS if name in parameters}
    covariance = jacobian @ fit.covariance @ jacobian.T
    used = data.used_bright
    exposures = data.exposure_s[used | data.dark]
    exposures = exposures[np.isfinite(exposures)]
    offset = fit.layout.get(fit.theta, "offset")
    temperature = captures.sensor.get("temperature_c")
    return NoiseModelDocument.model_validate(
        {
            "schema": SCHEMA_NAME,
            "schema_version": SCHEMA_VERSION,
            "kind": "poisson-gaussian",
            "sensor": {**captures.sensor, "bit_depth": bit_depth, "shape": captures.shape},
            "parameters": ordered,
            "covariance": {"names": names, "matrix": [[float(x) for x in row] for row in covariance]},
            "validity": {
                "signal_dn": (0.0, float(np.max(data.mean_dn[used]) - offset)),
                "exposure_s": (float(exposures.min()), float(exposures.max())) if exposures.size else None,
                "temperature_c": (temperature, temperature) if isinstance(temperature, int | float) else None,
            },
            "fit": FitEntry(
                method=METHOD,
                model=fit.name,
                deviance_per_dof=fit.deviance_per_dof,
                dof=fit.dof,
                flags=flags,
                candidates=tuple(_candidate(c) for c in choice.candidates),
            ),
            "brighter_fatter": _brighter_fatter(choice),
            "noise_correlation": measure_noise_correlation(levels),
            "measurements": _measurements(data, choice, levels),
            "provenance": {"files": _files(captures, digests), "software": f"photonbits {__version__}"},
        }
    )


def _entry(name: str, value: float, std: float | None) -> ParameterEntry:
    return ParameterEntry(value=float(value), std=None if std is None else float(std), unit=PARAMETERS[name][0])


def _candidate(candidate: Candidate) -> CandidateEntry:
    return CandidateEntry(
        name=candidate.name,
        bic=candidate.bic,
        system_gain_dn_per_e=float(candidate.theta[0]),
        deviance_per_dof=candidate.deviance_per_dof,
    )


class _Derived:
    """Parameters of the file as functions of theta, and their Jacobian (delta method)."""

    def __init__(self, fit: Candidate, light_unit: str) -> None:
        layout, theta = fit.layout, fit.theta
        std = np.sqrt(np.maximum(np.diag(fit.covariance), 0.0))
        gain, w = layout.get(theta, "gain"), layout.get(theta, "dark_variance")
        w_std = float(std[layout.names.index("dark_variance")])
        rows: dict[str, tuple[float, dict[str, float]]] = {"system_gain_dn_per_e": (gain, {"gain": 1.0})}
        rows["offset_dn"] = (layout.get(theta, "offset"), {"offset": 1.0} if layout.index("offset") is not None else {})
        # Below one standard error of the variance the square root's slope means nothing: the error is then the
        # noise that the variance's own error would make.
        safe = max(w, w_std)
        read = float(np.sqrt(max(w, 0.0))) / gain
        rows["read_noise_e"] = (read, {"dark_variance": 1 / (2 * gain * np.sqrt(safe)), "gain": -read / gain})
        dark_noise = float(np.sqrt(max(w, 0.0) + layout.rounding_dn2))
        rows["dark_noise_dn"] = (dark_noise, {"dark_variance": 1 / (2 * np.sqrt(safe + layout.rounding_dn2))})
        if layout.index("dark_rate") is not None:
            rate = layout.get(theta, "dark_rate") / gain
            rows["dark_current_e_per_s"] = (rate, {"dark_rate": 1 / gain, "gain": -rate / gain})
        for own, name in (("a00", "brighter_fatter_a00_per_e"), ("b", "brighter_fatter_b_per_e")):
            if layout.index(own) is not None:
                rows[name] = (layout.get(theta, own), {own: 1.0})
        if layout.index("responsivity") is not None and light_unit == "photons":
            percent = 100 * layout.get(theta, "responsivity") / gain
            slopes = {"responsivity": 100 / gain, "gain": -percent / gain}
            rows["quantum_efficiency_percent"] = (percent, slopes)
        self.names = list(rows)
        self.jacobian = np.zeros((len(rows), theta.size))
        for i, (_, slopes) in enumerate(rows.values()):
            for name, slope in slopes.items():
                self.jacobian[i, layout.names.index(name)] = slope
        errors = np.sqrt(np.maximum(np.diag(self.jacobian @ fit.covariance @ self.jacobian.T), 0.0))
        self.parameters = {
            name: _entry(name, value, error) for (name, (value, _)), error in zip(rows.items(), errors, strict=True)
        }
        for k in range(layout.degree):
            self.names.append(f"nonlinearity[{k}]")
            row = np.zeros(theta.size)
            row[theta.size - layout.degree + k] = 1.0
            self.jacobian = np.vstack([self.jacobian, row])


def _brighter_fatter(choice: Choice) -> BrighterFatterEntry | None:
    shifts, fit = choice.shifts, choice.chosen
    position = fit.layout.index("a00")
    if shifts is None or position is None:
        return None
    own, std = float(fit.theta[position]), float(np.sqrt(max(fit.covariance[position, position], 0.0)))
    measured = shifts.with_own(own, std)
    evolution = fit.layout.index("b")
    b_std = None if evolution is None else float(np.sqrt(max(fit.covariance[evolution, evolution], 0.0)))

    def rows(matrix: FloatArray) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(float(value) for value in row) for row in matrix)

    return BrighterFatterEntry(
        a_per_e=rows(measured.a_per_e),
        a_std_per_e=rows(measured.a_std_per_e),
        noise_dn2=rows(measured.noise_dn2),
        a00_from_neighbours_per_e=float(shifts.a_per_e[0, 0]),
        a00_from_neighbours_std_per_e=float(shifts.a_std_per_e[0, 0]),
        b_per_e=None if evolution is None else float(fit.theta[evolution]),
        b_std_per_e=b_std,
    )


def _measurements(
    data: PhotonTransferData, choice: Choice, levels: tuple[LevelStatistics, ...]
) -> tuple[MeasurementEntry, ...]:
    fit = choice.chosen
    lines = _line_noise(levels)
    plain = Nuisance()
    var_m, _, _ = error_covariance(fit.theta, fit.layout, data, plain, choice.shape_factor)
    out = []
    for i in range(data.mean_dn.size):
        if not np.isfinite(data.variance_dn2[i]):
            continue
        variance = float(data.variance_dn2[i])
        spread = np.sqrt(2.0 * choice.shape_factor[i] / data.variance_samples[i]) * max(variance, 0.0)
        usable = bool(data.usable[i])
        predicted = fit.layout.index("responsivity") is not None or not data.bright[i]
        out.append(
            MeasurementEntry(
                kind="bright" if data.bright[i] else "dark",
                exposure_s=_number(data.exposure_s[i]),
                photons_per_pixel=_number(data.photons_per_pixel[i]) if data.bright[i] else None,
                n_frames=int(data.n_frames[i]),
                n_pixels=int(data.mean_samples[i] // data.n_frames[i]),
                mean_dn=float(data.mean_dn[i]),
                mean_std_dn=float(np.sqrt(var_m[i])),
                variance_dn2=variance,
                variance_std_dn2=float(spread),
                clipped_fraction=float(data.clipped_fraction[i]),
                used=usable,
                fitted_mean_dn=float(fit.residuals.fitted_mean[i]) if predicted and usable else None,
                fitted_variance_dn2=float(fit.residuals.fitted_variance[i]) if usable else None,
                row_noise_dn2=lines[i][0] if lines else None,
                column_noise_dn2=lines[i][1] if lines else None,
            )
        )
    return tuple(out)


def _line_noise(levels: tuple[LevelStatistics, ...]) -> list[tuple[float | None, float | None]]:
    """Row and column noise of every level, mean over its pairs, in the order of the fit's data."""
    out: list[tuple[float | None, float | None]] = []
    for level in in_order_of_fit(levels):
        if level.pairs and min(level.pairs[0].shape) > 1:
            rows = float(np.mean([pair.row_noise_dn2 for pair in level.pairs]))
            out.append((rows, float(np.mean([pair.column_noise_dn2 for pair in level.pairs]))))
        else:
            out.append((None, None))
    return out


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def files_of(captures: CaptureSet) -> list[Path]:
    """Every file that the captures were read from, once: frames in the order of the levels, then the others."""
    frames = (reference.path for level in captures.levels for reference in level.frames)
    return list(dict.fromkeys([*frames, *captures.input_files]))


def _files(captures: CaptureSet, digests: Sequence[str]) -> list[dict[str, str]]:
    pairs = sorted(zip(files_of(captures), digests, strict=True))
    return [{"path": _relative(path, captures.root), "sha256": digest} for path, digest in pairs]


def _relative(path: Path, root: Path) -> str:
    base = root if root.is_dir() else root.parent
    try:
        return path.resolve().relative_to(base.resolve()).as_posix()
    except ValueError:
        return path.name
