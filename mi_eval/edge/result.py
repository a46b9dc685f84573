"""What was measured on a slanted edge, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import __version__
from mi_eval.edge.doubts import EdgeWarning
from mi_eval.edge.noise import SideNoise

FloatArray = NDArray[np.float64]

STATEMENT = (
    "Capacity of an assumed signal: what a Gaussian source of spectrum (V_pp MTF)^2 / 12 would get through this "
    "sharpness and noise. No scene enters it. It is not the mutual information that mi-eval score measures and is "
    "never ranked against it."
)
ASSUMPTIONS = (
    "signal spread evenly over V_pp at every frequency (variance V_pp^2 / 12), Gaussian signal and noise",
    "MTF and noise depend on the distance from frequency 0 alone: measured across one edge, taken for all directions",
    "nothing is limited by aliasing",
)


@dataclass(frozen=True)
class Measured:
    """A value with its standard error."""

    value: float
    std: float

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"value": self.value, "std": self.std}


@dataclass(frozen=True)
class AssumedSignalCapacity:
    """A capacity with the noise it was taken against: ``model`` (white, calibrated) or ``measured`` (spectrum).

    ``prefactor`` stands before log2(1 + S/N) in ``formula``.
    """

    form: str
    noise: str
    bits_per_pixel: Measured
    prefactor: float
    formula: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "form": self.form,
            "noise": self.noise,
            "bits_per_pixel": self.bits_per_pixel.to_dict(),
            "prefactor": self.prefactor,
            "formula": self.formula,
            "source": self.source,
        }


@dataclass(frozen=True)
class EdgeMeasurement:
    """MTF, noise and the capacity of an assumed signal from one slanted edge.

    Frequencies are in cycles per pixel of the measured plane, whose pixels are ``pitch`` sensor pixels apart.

    Parameters
    ----------
    source, plane : str, str or None
    pitch : int
    region : (x, y, width, height)
        In pixels of the plane.
    upright : bool
        Whether the edge runs along the columns (else along the rows).
    angle_degrees : Measured
        Lean of the edge against the columns (or rows).
    curve_order : int
    n_lines : int
        Lines that cross the edge.
    line_scatter_px : float
        Rms distance of the lines' own edges from the fitted curve.
    dark_e, bright_e, vpp_e, vpp_dn : Measured
        Charge of the sides, dark charge included, and the step between them.
    dark_charge_e : float
        Of it, dark charge (0 where unknown).
    position_px, esf_e, esf_std_e, lsf_per_px : ndarray (n_bins,)
        Edge spread function along the normal and its derivative over the step.
    frequency, mtf, mtf_std : ndarray (n_frequencies,)
        Up to 1 cycle per pixel.
    mtf50, mtf10 : Measured or None
        Cycles per pixel; None where the MTF does not fall so far.
    mtf_at_nyquist, rise_distance_px : Measured
    sides : dict of str to SideNoise
        ``dark`` and ``bright``; absent where too few pixels are flat.
    capacities : tuple of AssumedSignalCapacity
    warnings : tuple of EdgeWarning
    noise_model : dict
        Path and SHA-256.
    """

    source: str
    plane: str | None
    pitch: int
    region: tuple[int, int, int, int]
    upright: bool
    angle_degrees: Measured
    curve_order: int
    n_lines: int
    line_scatter_px: float
    dark_e: Measured
    bright_e: Measured
    vpp_e: Measured
    vpp_dn: Measured
    dark_charge_e: float
    position_px: FloatArray
    esf_e: FloatArray
    esf_std_e: FloatArray
    lsf_per_px: FloatArray
    frequency: FloatArray
    mtf: FloatArray
    mtf_std: FloatArray
    mtf50: Measured | None
    mtf10: Measured | None
    mtf_at_nyquist: Measured
    rise_distance_px: Measured
    sides: dict[str, SideNoise]
    model_noise_e2: float
    capacities: tuple[AssumedSignalCapacity, ...]
    warnings: tuple[EdgeWarning, ...]
    noise_model: dict[str, str | None]
    picture: NDArray[Any]

    def capacity(self, form: str = "nyquist_square", noise: str = "model") -> Measured:
        """Capacity of one form against one noise, bit per pixel.

        Raises
        ------
        KeyError
            If it was not computed.
        """
        for entry in self.capacities:
            if (entry.form, entry.noise) == (form, noise):
                return entry.bits_per_pixel
        raise KeyError(f"{form} against {noise} noise")

    def noise_equivalent_quanta(self, side: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        """NEQ(f) = (mean light)^2 MTF^2 / NPS of a side: frequencies, by the model's noise, by the measured.

        Raises
        ------
        KeyError
            If the side has no noise spectrum.
        """
        noise = self.sides[side]
        kept = noise.frequency <= 0.5
        f = noise.frequency[kept]
        power = np.interp(f, self.frequency, self.mtf * np.abs(self.mtf))
        signal2 = max(noise.mean_e - self.dark_charge_e, 0.0) ** 2
        return f, signal2 * power / noise.model_variance_e2, signal2 * power / noise.spectrum_e2[kept]

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``mi-eval edge``."""
        return {
            "kind": "slanted_edge",
            "frame": {"name": self.source, "plane": self.plane, "sensor_pixels_per_plane_pixel": self.pitch},
            "edge": {
                "region": dict(zip(("x", "y", "width", "height"), self.region, strict=True)),
                "along": "columns" if self.upright else "rows",
                "angle_degrees": self.angle_degrees.to_dict(),
                "lines": self.n_lines,
                "curve_order": self.curve_order,
                "line_scatter_px": self.line_scatter_px,
                "rise_distance_10_90_px": self.rise_distance_px.to_dict(),
            },
            "signal": {
                "dark_e": self.dark_e.to_dict(),
                "bright_e": self.bright_e.to_dict(),
                "vpp_e": self.vpp_e.to_dict(),
                "vpp_dn": self.vpp_dn.to_dict(),
                "dark_charge_e": self.dark_charge_e,
            },
            "mtf50_cycles_per_px": None if self.mtf50 is None else self.mtf50.to_dict(),
            "mtf10_cycles_per_px": None if self.mtf10 is None else self.mtf10.to_dict(),
            "mtf_at_nyquist": self.mtf_at_nyquist.to_dict(),
            "mtf": {
                "frequency_cycles_per_px": _numbers(self.frequency),
                "value": _numbers(self.mtf),
                "std": _numbers(self.mtf_std),
            },
            "edge_spread": {
                "position_px": _numbers(self.position_px),
                "value_e": _numbers(self.esf_e),
                "std_e": _numbers(self.esf_std_e),
                "line_spread_per_px": _numbers(self.lsf_per_px),
            },
            "noise": {side: self._side(side) for side in self.sides},
            "assumed_signal_capacity": {
                "statement": STATEMENT,
                "assumptions": list(ASSUMPTIONS),
                "signal": "S(f) = (V_pp MTF(f))^2 / 12",
                "noise_e2": {"model": self.model_noise_e2},
                "values": [entry.to_dict() for entry in self.capacities],
            },
            "warnings": [{"code": entry.code, "message": entry.message} for entry in self.warnings],
            "noise_model": self.noise_model,
            "version": __version__,
        }

    def _side(self, side: str) -> dict[str, Any]:
        noise = self.sides[side]
        f, by_model, by_spectrum = self.noise_equivalent_quanta(side)
        return {
            "mean_e": {"value": noise.mean_e, "std": noise.mean_std_e},
            "pixels": noise.n_pixels,
            "variance_e2": {"value": noise.variance_e2, "std": noise.variance_std_e2},
            "model_variance_e2": noise.model_variance_e2,
            "measured_over_model": {"value": noise.ratio, "std": noise.ratio_std},
            "neighbour_correlation": list(noise.correlation),
            "spectrum": {
                "frequency_cycles_per_px": _numbers(noise.frequency),
                "value_e2": _numbers(noise.spectrum_e2),
                "std_e2": _numbers(noise.spectrum_std_e2),
            },
            "noise_equivalent_quanta": {
                "frequency_cycles_per_px": _numbers(f),
                "model": _numbers(by_model),
                "measured": _numbers(by_spectrum),
            },
        }


def _numbers(values: FloatArray) -> list[float]:
    """Seven digits: more than any of them means."""
    return [float(f"{value:.7g}") for value in values]
