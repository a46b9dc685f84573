"""Linear minimum-mean-square reconstruction: by spatial frequency, or from a learned window around each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.downstream.interface import Examples, FloatArray, Setting, Trained
from mi_eval.downstream.reconstruction import Reconstruction
from mi_eval.torch_extra import torch

_CHUNK = 32
_MOST_ROWS = 60_000  # of the regression, for each place in the period
_RIDGES = 10.0 ** np.arange(-7, 1.5, 0.5)  # times the mean eigenvalue


@dataclass(frozen=True)
class Wiener(Reconstruction):
    r"""The linear estimate of least mean squared error.

    ``spectral``: for systems that shift frames with objects, frame spectrum = sum over planes of :math:`H_p O_p` plus
    white noise of variance N,

    .. math:: \hat O = \bar O + S H^* (H^T S H^* + N)^{-1} (F - \bar F)

    with S the planes' cross-spectra, measured on training objects, and N the sensor's mean noise at the light of the
    training frames (Wiener 1949; Kay, Estimation Theory, ch. 12). ``window``: ridge regression of each target pixel on
    the frame's pixels within ``radius_px``, learned from pairs, one for each place in the system's period; what lies
    outside the frame counts as its mean. It holds for every system, and sees no further than the window. The ridge is
    the best on validation frames.

    Parameters
    ----------
    form : {"auto", "spectral", "window"}
        ``auto``: spectral where a transfer function and no cropped margin allow it.
    radius_px : int
        Reach of the window.
    """

    name: ClassVar[str] = "wiener"
    title: ClassVar[str] = "Linear reconstruction (Wiener)"

    form: Literal["auto", "spectral", "window"] = "auto"
    radius_px: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in ("auto", "spectral", "window") or self.radius_px < 0:
            raise PhotonbitsError(
                f"form {self.form!r}, radius_px {self.radius_px}",
                where=self.name,
                legal="auto, spectral or window; 0 or more",
            )

    def train(self, training: Examples, validation: Examples, setting: Setting, seed: int) -> Trained:
        """Measure spectra, or learn the windows."""
        shifts = _shifts(setting)
        if self.form == "spectral" and not shifts:
            raise PhotonbitsError(
                f"spectral form with system {setting.design.system.name}",
                where=self.name,
                legal="systems with a transfer function and no margin",
                remedy="Take form window or auto",
            )
        if self.form == "window" or not shifts:
            return _window(training, validation, setting, self.radius_px, seed)
        return _spectral(training, setting, total=self.planes == "sum")


def _shifts(setting: Setting) -> bool:
    """Whether frames are objects through a transfer function, uncropped."""
    design = setting.design
    with torch.no_grad():
        transfer = design.system.transfer(design.tensors())
    return transfer is not None and design.system.frame_shape == design.system.object_shape[1:]


# ---- by spatial frequency ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Spectral(Trained):
    gain: FloatArray  # complex, (planes, height, width)
    mean_target: FloatArray
    mean_frame: FloatArray
    noise_e: float
    linear: Any  # frames -> electrons

    def decode(self, frames: FloatArray) -> FloatArray:
        spectrum = np.fft.fft2(self.linear(frames) - self.mean_frame)
        return np.asarray(self.mean_target + np.fft.ifft2(self.gain * spectrum[:, None]).real)

    @property
    def details(self) -> dict[str, Any]:
        return {"form": "spectral", "noise_e": self.noise_e}


def _spectral(training: Examples, setting: Setting, *, total: bool) -> _Spectral:
    design, problem = setting.design, setting.problem
    with torch.no_grad():
        found = design.system.transfer(design.tensors())
        assert found is not None
        noise = float(problem.channel.noise_variance_e2(torch.from_numpy(training.simulation.charge_e)).mean())
    transfer = np.asarray(found.numpy())
    objects = training.simulation.objects
    spectra = np.fft.fft2(objects - objects.mean(axis=0), norm="ortho")
    # (frequency, plane, plane): n - 1, as the mean object is measured on the same objects.
    cross = np.einsum("nphw,nqhw->hwpq", spectra, spectra.conj()) / (len(objects) - 1)
    h = np.moveaxis(transfer, 0, -1)
    through = np.einsum("hwpq,hwq->hwp", cross, h.conj())
    power = np.einsum("hwp,hwp->hw", h, through).real + noise
    gain = np.moveaxis(through / power[..., None], -1, 0) / problem.scale
    if total:
        gain = gain.sum(axis=0, keepdims=True)
    linear = _Linearised(setting)
    return _Spectral(gain, training.targets.mean(axis=0), linear(training.frames).mean(axis=0), noise**0.5, linear)


@dataclass(frozen=True)
class _Linearised:
    """Raw frames as electrons: offset off, response inverted, over the gain; saturated codes at the full well."""

    setting: Setting

    def __call__(self, frames: FloatArray) -> FloatArray:
        camera = self.setting.problem.noise_model.camera
        u = frames - float(camera.offset_dn)
        if not camera.response.is_linear:
            top = camera.response.full_well_dn
            inverse = camera.response.inverse(u)
            u = np.where(np.isfinite(inverse), inverse, u if top is None else top)
        return np.asarray(u / float(camera.system_gain_dn_per_e), dtype=np.float64)


# ---- from a window ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Window(Trained):
    weights: FloatArray  # (period, period, window, planes)
    mean_frame: FloatArray
    mean_target: FloatArray
    radius_px: int
    ridges: tuple[float, ...]

    def decode(self, frames: FloatArray) -> FloatArray:
        chunks = [self._decode(frames[first : first + _CHUNK]) for first in range(0, len(frames), _CHUNK)]
        return np.concatenate(chunks)

    def _decode(self, frames: FloatArray) -> FloatArray:
        period = self.weights.shape[0]
        out = np.broadcast_to(self.mean_target, (len(frames), *self.mean_target.shape)).copy()
        views = _windows(frames - self.mean_frame, self.radius_px)
        for row in range(period):
            for column in range(period):
                part = views[:, row::period, column::period]
                found = part.reshape(*part.shape[:3], -1) @ self.weights[row, column]
                out[:, :, row::period, column::period] += np.moveaxis(found, -1, 1)
        return out

    @property
    def details(self) -> dict[str, Any]:
        return {"form": "window", "radius_px": self.radius_px, "relative_ridges": list(self.ridges)}


def _windows(frames: FloatArray, radius: int) -> FloatArray:
    """Every pixel's neighbourhood, (n, height, width, side, side), 0 outside; a view of the padded frames."""
    padded = np.pad(frames, ((0, 0), (radius, radius), (radius, radius)))
    side = 2 * radius + 1
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))


def _window(training: Examples, validation: Examples, setting: Setting, radius: int, seed: int) -> _Window:
    period = setting.design.system.period_px
    mean_frame, mean_target = training.frames.mean(axis=0), training.targets.mean(axis=0)
    pairs = [(_windows(e.frames - mean_frame, radius), e.targets - mean_target) for e in (training, validation)]
    side2, planes = (2 * radius + 1) ** 2, training.targets.shape[1]
    weights = np.zeros((period, period, side2, planes))
    ridges = []
    # The same places for every design: drawn from seed and sizes alone.
    rng = np.random.default_rng([seed, 53])
    for row in range(period):
        for column in range(period):
            x, t = _rows(*pairs[0], row, column, period, rng)
            x_new, t_new = _rows(*pairs[1], row, column, period, rng)
            weights[row, column], ridge = ridge_weights(x, t, x_new, t_new)
            ridges.append(ridge)
    return _Window(weights, mean_frame, mean_target, radius, tuple(ridges))


def _rows(
    views: FloatArray, targets: FloatArray, row: int, column: int, period: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Windows (rows, side^2) and targets (rows, planes) at one place in the period."""
    own, own_targets = views[:, row::period, column::period], targets[:, :, row::period, column::period]
    n, height, width = own.shape[:3]
    count = n * height * width
    chosen = np.arange(count) if count <= _MOST_ROWS else rng.choice(count, _MOST_ROWS, replace=False)
    frame, down, right = np.unravel_index(np.sort(chosen), (n, height, width))
    return own[frame, down, right].reshape(chosen.size, -1), own_targets[frame, :, down, right]


def ridge_weights(x: FloatArray, t: FloatArray, x_new: FloatArray, t_new: FloatArray) -> tuple[FloatArray, float]:
    """Weights of the ridge that is best on new rows, and that ridge over the mean eigenvalue."""
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    values = np.maximum(values, 0.0)
    scale = float(values.mean())
    if not scale > 0:
        return np.zeros((x.shape[1], t.shape[1])), 0.0
    along, turned = vectors.T @ (x.T @ t / len(x)), x_new @ vectors
    best: tuple[float, FloatArray, float] | None = None
    for ridge in _RIDGES:
        weights = along / (values + ridge * scale)[:, None]
        error = float(np.mean((turned @ weights - t_new) ** 2))
        if best is None or error < best[0]:
            best = error, vectors @ weights, float(ridge)
    assert best is not None
    return best[1], best[2]
