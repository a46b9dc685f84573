r"""Fisher information of a photon-transfer capture set: how well any unbiased fit of its statistics can do.

The statistics of a level are its mean m and its temporal variance v. A level at the charge

    y = R L (1 + e) + D t,    e ~ N(0, s_light^2),

has codes of mean mu(theta, e) and cumulants kappa_2, kappa_3, kappa_4. From N pixels and n frames

    Var m = kappa_2 / (N n),    Cov(m, v) = kappa_3 / (N n),    Var v = 2 kappa_2^2 / (N (n - 1)) + kappa_4 / (N n).

The light's error e is integrated out to first order, and its size is that of the camera's lamp: with
g = d(m, v)/de and the covariance C of above, Sigma = C + s_light^2 g g^T, and

    F = sum over levels of J^T Sigma^-1 J,    J = d(m, v)/d theta.

How Sigma depends on theta adds nothing for the noise (a gamma law of known shape has just this information about its
mean) and 2 s_light^2 of the whole for the light, which is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibrate.noise_model import Camera
from calibrate.noise_model.tables import code_table
from calibrate.plumbing.errors import PhotonbitsError
from calibrate.response import Response

FloatArray = NDArray[np.float64]

_ROUNDING_DN2 = 1.0 / 12.0
#: Below this variance rounding does more than add 1/12: exp(-2 pi^2 1.3) = 7e-12 is the first harmonic left out.
_COARSE_DN2 = 1.3
#: Within this many standard deviations of a clip the codes' own distribution is added up.
_NEAR_CLIP_SIGMAS = 7.0
#: Eigenvalues of the scaled information below this share of the largest: a direction that nothing measures.
_RANK = 1e-10
CAMERA_PARAMETERS = (
    "system_gain_dn_per_e",
    "offset_dn",
    "read_noise_e",
    "dark_current_e_per_s",
    "responsivity_e_per_light",
)


@dataclass(frozen=True)
class CameraPoint:
    """The camera and the lamp at which the information is taken.

    Parameters
    ----------
    system_gain_dn_per_e, read_noise_e, offset_dn : float
    dark_current_e_per_s : float
    responsivity_e_per_light : float
        Electrons per unit of light: per photon, or per second of exposure.
    response_coefficients : tuple of float
        c_1, c_2, ... of ``f(u) = u (1 + sum_k c_k (u / scale)^k)``; zeros ask how well a straight camera is known to
        be straight. Knee over scale and slope of a two-slope response.
    response_scale_dn : float
        Signal at which the coefficients are read, DN.
    response_form : {"polynomial", "two-slope"}
    bit_depth : int or None
        None for real values: no rounding, no clips.
    light_scatter : float
        Relative standard deviation of a level's light about its nominal value; ``inf`` where the light is not known.
    offset_scatter_dn : float
        Standard deviation of the offset from level to level.
    """

    system_gain_dn_per_e: float
    read_noise_e: float
    offset_dn: float
    dark_current_e_per_s: float = 0.0
    responsivity_e_per_light: float = 1.0
    response_coefficients: tuple[float, ...] = ()
    response_scale_dn: float = 1.0
    response_form: Literal["polynomial", "two-slope"] = "polynomial"
    bit_depth: int | None = None
    light_scatter: float = 0.0
    offset_scatter_dn: float = 0.0


@dataclass(frozen=True)
class LevelDesign:
    """Frames at one light and one exposure, shot or to be shot.

    Parameters
    ----------
    kind : {"bright", "dark"}
    light : float
        In the unit of the responsivity; 0 for darks.
    exposure_s : float
    n_frames : int
        One frame has a mean and no variance.
    n_pixels : float
        Per frame; fewer than there are where the noise is correlated.
    variance_factor : float
        By how much the variance of v exceeds that of even pixels (measured kurtosis over the expected one).
    disjoint_pairs : bool
        Whether v comes from frames 0 and 1, 2 and 3, ... and not from all frames of the level.
    """

    kind: str
    light: float
    exposure_s: float
    n_frames: int
    n_pixels: float
    variance_factor: float = 1.0
    disjoint_pairs: bool = False


@dataclass(frozen=True)
class FisherInformation:
    """Information about the parameters, and the errors that it allows.

    Parameters
    ----------
    names : tuple of str
    values : ndarray (n_parameters,)
        Where it was taken, in the units of the names.
    matrix : ndarray (n_parameters, n_parameters)
    light_scatter_information : float
        About s_light^2, which is independent of the rest.
    """

    names: tuple[str, ...]
    values: FloatArray
    matrix: FloatArray
    light_scatter_information: float = 0.0

    def covariance(self) -> FloatArray:
        """Cramer-Rao bound of the covariance; ``inf`` in rows and columns that the captures do not determine."""
        scale = np.sqrt(np.diag(self.matrix))
        seen = scale > 0
        safe = np.where(seen, scale, 1.0)
        values, vectors = np.linalg.eigh(self.matrix / np.outer(safe, safe))
        none = values < _RANK * max(float(values[-1]), 1e-300)
        inverse = (vectors[:, ~none] / values[~none]) @ vectors[:, ~none].T / np.outer(safe, safe)
        unknown = ~seen | np.any(np.abs(vectors[:, none]) > 1e-6, axis=1)
        inverse[unknown, :] = inverse[:, unknown] = 0.0
        inverse[np.diag(unknown)] = np.inf
        return np.asarray(inverse)

    def std(self, name: str) -> float:
        """Least standard error of one parameter; ``inf`` where the captures do not determine it."""
        position = self.names.index(name)
        return float(np.sqrt(self.covariance()[position, position]))

    def without(self, *names: str) -> FisherInformation:
        """The information where these parameters are known."""
        keep = [i for i, name in enumerate(self.names) if name not in names]
        return replace(
            self,
            names=tuple(self.names[i] for i in keep),
            values=self.values[keep],
            matrix=self.matrix[np.ix_(keep, keep)],
        )

    def __add__(self, other: FisherInformation) -> FisherInformation:
        if self.names != other.names:
            raise ValueError(f"information about {self.names} and about {other.names}")
        return replace(
            self,
            matrix=self.matrix + other.matrix,
            light_scatter_information=self.light_scatter_information + other.light_scatter_information,
        )


def parameter_names(camera: CameraPoint) -> tuple[str, ...]:
    """All parameters of a camera, in the order of the matrix; no responsivity where the light is not known."""
    known_light = np.isfinite(camera.light_scatter)
    names = CAMERA_PARAMETERS if known_light else CAMERA_PARAMETERS[:-1]
    return (*names, *(f"nonlinearity[{k}]" for k in range(len(camera.response_coefficients))))


def parameter_values(camera: CameraPoint) -> FloatArray:
    """Their values, in the same order."""
    return np.array([_value(camera, name) for name in parameter_names(camera)])


def code_cumulants(camera: CameraPoint, charge_e: FloatArray) -> FloatArray:
    r"""Mean and second to fourth cumulant of the codes at given charges, shape (4, n).

    Parameters
    ----------
    camera : CameraPoint
    charge_e : ndarray (n,)
        Mean charge, dark charge in it.

    Notes
    -----
    To first order in the noise, with u = K y,

    .. math::
        \mu = b + f(u), \quad \kappa_2 = f'^2 K^2 (y + r^2) + 1/12, \quad
        \kappa_3 = f'^3 K^3 y, \quad \kappa_4 = f'^4 K^4 y .

    Where that is not enough (variance below 1.3 DN^2, or a clip or a knee within 7 standard deviations) the
    probabilities of the codes are added up.
    """
    charge = np.asarray(charge_e, dtype=np.float64)
    response = _response(camera)
    u = camera.system_gain_dn_per_e * charge
    slope_gain = response.derivative(u) * camera.system_gain_dn_per_e
    shot = np.maximum(charge, 0.0)
    before = slope_gain**2 * (shot + camera.read_noise_e**2)
    rounding = 0.0 if camera.bit_depth is None else _ROUNDING_DN2
    mean = camera.offset_dn + response.evaluate(u)
    out = np.stack([mean, before + rounding, slope_gain**3 * shot, slope_gain**4 * shot])
    if camera.bit_depth is None:
        return out
    reach = _NEAR_CLIP_SIGMAS * np.sqrt(before)
    knee = np.inf if response.knee_dn is None else response.knee_dn
    spread = camera.system_gain_dn_per_e * np.sqrt(shot + camera.read_noise_e**2)
    exact = (np.abs(u - knee) < _NEAR_CLIP_SIGMAS * spread) & np.isfinite(knee)
    exact |= (before < _COARSE_DN2) | (mean - reach < 0.5) | (mean + reach > 2**camera.bit_depth - 1.5)
    if np.any(exact):
        out[:, exact] = _added_up(camera, response, shot[exact])
    return out


@dataclass(frozen=True)
class Sensitivities:
    """What levels at given lights and exposures would say, whatever the number of their frames.

    Parameters
    ----------
    names : tuple of str
    cumulants : ndarray (4, n_levels)
    by_parameter : ndarray (n_levels, 2, n_parameters)
        d(mean, variance)/d(parameter).
    by_light : ndarray (n_levels, 2)
        d(mean, variance)/d(relative error of the light).
    """

    names: tuple[str, ...]
    cumulants: FloatArray
    by_parameter: FloatArray
    by_light: FloatArray


def sensitivities(camera: CameraPoint, light: FloatArray, exposure_s: FloatArray) -> Sensitivities:
    """Moments of the codes and their derivatives at levels (n_levels,); darks have no light."""
    names = parameter_names(camera)
    by_parameter = np.stack([_slope(camera, name, light, exposure_s) for name in names], axis=2)
    step = 1e-4
    up, down = (_at(camera, light * (1 + sign * step), exposure_s)[:2] for sign in (1, -1))
    return Sensitivities(names, _at(camera, light, exposure_s), by_parameter, (up - down).T / (2 * step))


def level_informations(
    camera: CameraPoint, levels: Sequence[LevelDesign], known: Sensitivities | None = None
) -> tuple[FloatArray, FloatArray]:
    """Information of each level by itself: about the parameters (n_levels, p, p), and about s_light^2 (n_levels,).

    The information of a capture set is the sum over its levels, since their errors are independent.

    Parameters
    ----------
    camera : CameraPoint
    levels : sequence of LevelDesign
    known : Sensitivities, optional
        Of these lights and exposures, where they have been computed before.

    Raises
    ------
    PhotonbitsError
        If a level has no frames or pixels, or a negative light or exposure.
    """
    _check(levels)
    if known is None:
        light = np.array([level.light if level.kind == "bright" else 0.0 for level in levels])
        known = sensitivities(camera, light, np.array([level.exposure_s for level in levels]))
    precision = _noise_precision(known.cumulants, levels, camera.offset_scatter_dn)
    pulled = np.einsum("nij,nj->ni", precision, known.by_light)
    own = np.einsum("ni,ni->n", known.by_light, pulled)  # what a level says about its own light
    prior = np.inf if camera.light_scatter == 0 else 1.0 / camera.light_scatter**2
    share = np.where(own > 0, 1.0 / (np.where(own > 0, prior, 1.0) + own), 0.0)  # Sherman and Morrison
    precision = precision - share[:, None, None] * np.einsum("ni,nj->nij", pulled, pulled)
    matrices = np.einsum("nia,nij,njb->nab", known.by_parameter, precision, known.by_parameter)
    left = own - share * own**2  # g^T Sigma^-1 g
    return matrices, left**2 / 2


def fisher_information(camera: CameraPoint, levels: Sequence[LevelDesign]) -> FisherInformation:
    """Fisher information of all levels about the camera's parameters.

    A parameter that nothing measures (the dark current without a second dark exposure, say) has an infinite error;
    `FisherInformation.without` takes out what is known or not fitted.

    Parameters
    ----------
    camera : CameraPoint
        The truth, or the best guess of it.
    levels : sequence of LevelDesign

    Raises
    ------
    PhotonbitsError
        If there are no levels, or one has no frames, no pixels, or a negative light or exposure.
    """
    matrices, scatter = level_informations(camera, levels)
    total = matrices.sum(axis=0)
    return FisherInformation(parameter_names(camera), parameter_values(camera), total, float(np.sum(scatter)))


def _noise_precision(cumulants: FloatArray, levels: Sequence[LevelDesign], offset_scatter_dn: float) -> FloatArray:
    """Inverse covariance of (mean, variance) of every level, (n_levels, 2, 2); zeros for what is not measured."""
    frames = np.array([float(level.n_frames) for level in levels])
    pixels = np.array([level.n_pixels for level in levels])
    factor = np.array([level.variance_factor for level in levels])
    pairs = np.array([level.disjoint_pairs for level in levels])
    _, kappa2, kappa3, kappa4 = cumulants
    samples = pixels * frames
    var_m = kappa2 / samples + offset_scatter_dn**2
    cov = kappa3 / samples
    # Each frame's own mean is taken out of the differences: one degree of freedom of N.
    freedom = np.maximum(pixels - 1, 0.0) * np.where(pairs, frames // 2, frames - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(pairs, 2 * (frames // 2), frames) * pixels
        var_v = np.where(freedom > 0, 2 * kappa2**2 * factor / freedom + kappa4 / used, np.inf)
    measured = freedom > 0
    var_v = np.where(measured, var_v, 1.0)
    cov = np.where(measured, cov, 0.0)
    # A camera with a single code in its darks has no noise to measure: keep the arithmetic finite.
    tiny = 1e-300
    determinant = np.maximum(var_m * var_v - cov**2, tiny)
    out = np.empty((frames.size, 2, 2))
    out[:, 0, 0] = np.where(measured, var_v / determinant, 1.0 / np.maximum(var_m, tiny))
    out[:, 0, 1] = out[:, 1, 0] = -cov / determinant
    out[:, 1, 1] = np.where(measured, var_m / determinant, 0.0)
    return out


def _at(camera: CameraPoint, light: FloatArray, exposure_s: FloatArray) -> FloatArray:
    return code_cumulants(camera, camera.responsivity_e_per_light * light + camera.dark_current_e_per_s * exposure_s)


def _slope(camera: CameraPoint, name: str, light: FloatArray, exposure_s: FloatArray) -> FloatArray:
    """d(mean, variance)/d(parameter) of every level, (n_levels, 2), by central differences."""
    value = _value(camera, name)
    step = {"offset_dn": 1e-4, "dark_current_e_per_s": max(1e-4 * abs(value), 1e-3)}.get(name, 1e-4 * abs(value))
    if name == "read_noise_e" and step == 0:
        step = 1e-4
    if name.startswith("nonlinearity"):
        step = 1e-5
    up = _at(_with(camera, name, value + step), light, exposure_s)[:2]
    if value - step < 0 and name in ("read_noise_e", "dark_current_e_per_s"):  # no noise and no charge below 0
        return np.asarray((up - _at(camera, light, exposure_s)[:2]).T / step)
    down = _at(_with(camera, name, value - step), light, exposure_s)[:2]
    return np.asarray((up - down).T / (2 * step))


def _value(camera: CameraPoint, name: str) -> float:
    if name.startswith("nonlinearity"):
        return camera.response_coefficients[int(name[13:-1])]
    return float(getattr(camera, name))


def _with(camera: CameraPoint, name: str, value: float) -> CameraPoint:
    if name.startswith("nonlinearity"):
        coefficients = list(camera.response_coefficients)
        coefficients[int(name[13:-1])] = value
        return replace(camera, response_coefficients=tuple(coefficients))
    return replace(camera, **{name: value})  # type: ignore[arg-type]


def _response(camera: CameraPoint) -> Response:
    if not any(camera.response_coefficients):
        return Response()
    return Response(camera.response_form, camera.response_coefficients, camera.response_scale_dn)


def _added_up(camera: CameraPoint, response: Response, charge_e: FloatArray) -> FloatArray:
    """Mean and cumulants from the probabilities of the codes, (4, n)."""
    bits = camera.bit_depth
    if bits is None:  # pragma: no cover - the caller has checked
        raise RuntimeError("real values have no codes")
    exact = Camera(
        kind="poisson-gaussian",
        system_gain_dn_per_e=camera.system_gain_dn_per_e,
        read_noise_e=camera.read_noise_e,
        offset_dn=camera.offset_dn,
        bit_depth=bits,
        black_clip_dn=0,
        white_clip_dn=2**bits - 1,
        response=response,
    )
    table = code_table(exact, charge_e)
    mean, variance = table.moments()
    row = np.repeat(np.arange(charge_e.size), np.diff(table.pmf.indptr))
    from_mean = table.first_code + table.pmf.indices - mean[row]
    third, fourth = (
        np.bincount(row, weights=table.pmf.data * from_mean**power, minlength=charge_e.size) for power in (3, 4)
    )
    return np.stack([mean, variance, third, fourth - 3 * variance**2])


def _check(levels: Sequence[LevelDesign]) -> None:
    if not levels:
        raise PhotonbitsError("no levels", legal="one level or more", remedy="Plan darks and flats")
    for i, level in enumerate(levels):
        if level.kind not in ("bright", "dark"):
            raise PhotonbitsError(f"kind is {level.kind!r}", where=f"level {i}", legal="bright or dark")
        for name, value, least in (
            ("n_frames", level.n_frames, 1),
            ("n_pixels", level.n_pixels, 1),
            ("light", level.light, 0),
            ("exposure_s", level.exposure_s, 0),
        ):
            if not (np.isfinite(value) and value >= least):
                raise PhotonbitsError(f"{name} is {value:g}", where=f"level {i}", legal=f"{least} or more")
