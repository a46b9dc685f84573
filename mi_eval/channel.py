"""The noise model in torch: moments, probabilities and samples of codes, with gradients in the charge.

The twin of `calibrate.NoiseModel`, held to it by a contract test. Everything is float64.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.channel_sums import (
    TINY_E,
    log_normal_interval,
    log_shot_density,
    log_shot_interval,
    piecewise_moments,
    read_noise_moments,
    shot_noise_moments,
)
from mi_eval.torch_extra import Tensor, torch

FloatArray = NDArray[np.float64]
ShotNoise = Literal["poisson", "normal"]

_NODES = 64  # of the Gauss-Hermite rule that the numpy twin uses for real values and a curved response


@dataclass(frozen=True)
class Channel:
    """p(z | y) of a noise model as functions of a torch tensor of charge.

    Parameters
    ----------
    noise_model : NoiseModel
        Of any kind, with or without bit depth.
    maps : bool
        Use the per-pixel maps; the last two axes of the data are then (height, width). Otherwise the scalars.

    Raises
    ------
    PhotonbitsError
        For a noise model with channels (colour filters, taps): take one, ``noise_model.channel(name)``.
    """

    noise_model: NoiseModel
    maps: bool = True
    _camera: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        model = self.noise_model
        if model.channel_layout is not None:
            raise PhotonbitsError(
                f"a noise model with channels {', '.join(model.channel_layout.names)}",
                legal="one channel",
                remedy="Take one of them with noise_model.channel(name)",
            )
        readout: dict[str, Any] = dict(model.readout_maps) if self.maps else {}
        camera = replace(model.camera, **readout) if readout else model.camera
        object.__setattr__(self, "_camera", camera)

    @property
    def kind(self) -> str:
        """``poisson-gaussian``, ``poisson`` or ``gaussian``."""
        return str(self._camera.kind)

    @property
    def signed(self) -> bool:
        """Whether the charge may be negative: kind ``gaussian`` only."""
        return self.kind == "gaussian"

    @property
    def full_well_e(self) -> float | None:
        """Charge at which the first pixel saturates: full well or highest code; None for unbounded real values."""
        camera = self._camera
        if camera.bit_depth is not None:
            edge = camera.thresholds_e(np.array(float(camera.white_clip_dn)))
            return float(np.min(edge)) if np.all(np.isfinite(edge)) else self._well_e()
        return self._well_e()

    def _well_e(self) -> float | None:
        top = self._camera.response.full_well_dn
        return None if top is None else float(top / np.max(self._camera.system_gain_dn_per_e))

    # ---- charge --------------------------------------------------------------------------------------------

    def charge_e(self, light_e: Tensor, exposure_s: Tensor | float = 0.0) -> Tensor:
        """Collected charge y = (1 + prnu) s + dark exposure, electrons, of the light s; shape of ``light_e``."""
        held = self.noise_model.maps or {} if self.maps else {}
        entry = self.noise_model.parameter("dark_current_e_per_s")
        dark: Any = held.get("dark_current_e_per_s", 0.0 if entry is None else entry.value)
        response: Any = 1.0 + np.asarray(held.get("prnu", 0.0))
        return light_e * _tensor(response) + _tensor(np.asarray(dark)) * exposure_s

    def _check(self, y_e: Tensor) -> None:
        if y_e.dtype != torch.float64:
            raise PhotonbitsError(f"charge of type {y_e.dtype}", legal="float64")
        with torch.no_grad():
            if not bool(torch.isfinite(y_e).all()):
                raise PhotonbitsError("charge that is NaN or infinite", legal="finite electrons")
            if not self.signed and y_e.numel() and float(y_e.min()) < 0:
                raise PhotonbitsError(f"charge of {float(y_e.min()):g} e-", legal="0 or more electrons")

    def _parameters(self, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
        """System gain, read noise and offset, each broadcast to the data and flat."""
        camera = self._camera
        values = (camera.system_gain_dn_per_e, camera.read_noise_e, camera.offset_dn)
        try:
            gain, read, offset = (np.broadcast_to(np.asarray(v, dtype=np.float64), shape).ravel() for v in values)
        except ValueError as error:
            raise PhotonbitsError(
                f"data of shape {shape} with maps of shape {self.noise_model.map_shape}",
                legal=f"last two axes {self.noise_model.map_shape}",
            ) from error
        return gain, read, offset

    # ---- the response ---------------------------------------------------------------------------------------

    def response_dn(self, u_dn: Tensor) -> Tensor:
        """f(u) in DN with its gradient; flat from the full well on."""
        curve = self._camera.response
        u = u_dn if curve.full_well_dn is None else torch.clamp(u_dn, max=curve.full_well_dn)
        if curve.form == "linear":
            return u
        if curve.form == "two-slope":
            knee = curve.coefficients[0] * curve.scale_dn
            return torch.clamp(u, max=knee) + curve.coefficients[1] * torch.clamp(u - knee, min=0.0)
        x = torch.clamp(u / curve.scale_dn, 0.0, 1.0)
        value, slope = torch.ones_like(x), 1.0
        for power, coefficient in enumerate(curve.coefficients, start=1):
            value = value + coefficient * x**power
            slope += (power + 1) * coefficient
        inside = torch.where(u > 0, torch.clamp(u, max=curve.scale_dn) * value, u)
        return inside + torch.clamp(u - curve.scale_dn, min=0.0) * slope

    def response_slope(self, u_dn: Tensor) -> Tensor:
        """f'(u), dimensionless, with its own gradient; 0 from the full well on."""
        curve = self._camera.response
        slope = torch.ones_like(u_dn)
        if curve.form == "polynomial":
            x = torch.clamp(u_dn / curve.scale_dn, 0.0, 1.0)
            for power, coefficient in enumerate(curve.coefficients, start=1):
                slope = slope + (power + 1) * coefficient * x**power
        elif curve.form == "two-slope":
            beyond = u_dn > curve.coefficients[0] * curve.scale_dn
            slope = torch.where(beyond, curve.coefficients[1] * slope, slope)
        if curve.full_well_dn is not None:
            slope = torch.where(u_dn >= curve.full_well_dn, torch.zeros_like(slope), slope)
        return slope

    # ---- moments --------------------------------------------------------------------------------------------

    def mean_dn(self, y_e: Tensor) -> Tensor:
        """E[Z | y] in DN, rounding and clipping in; the shape of ``y_e``."""
        return self._moments(y_e)[0]

    def variance_dn2(self, y_e: Tensor) -> Tensor:
        """Var[Z | y] in DN^2, rounding and clipping in; the shape of ``y_e``."""
        return self._moments(y_e)[1]

    def noise_variance_e2(self, y_e: Tensor) -> Tensor:
        r"""Noise referred to collected charge, electrons squared, in closed form.

        .. math:: \sigma^2(y) = y + r^2 + \frac{1}{12 K^2 f'(K y)^2}

        without y for kind ``gaussian`` and without the last term for real values. First order in the curvature of f,
        and for charges away from the clips: saturation is a limit on the light, not a source of little noise.
        """
        self._check(y_e)
        camera = self._camera
        gain, read = _tensor(camera.system_gain_dn_per_e), _tensor(camera.read_noise_e)
        variance = read**2 + (torch.zeros_like(y_e) if self.signed else y_e)
        if camera.bit_depth is None:
            return variance
        slope = 1.0 if camera.response.form == "linear" else self.response_slope(gain * y_e)
        return variance + 1.0 / (12.0 * (gain * slope) ** 2)

    def _moments(self, y_e: Tensor) -> tuple[Tensor, Tensor]:
        self._check(y_e)
        camera = self._camera
        shape = tuple(y_e.shape)
        gain, read, offset = self._parameters(shape)
        if camera.bit_depth is None:
            return self._continuous_moments(y_e)
        y = y_e.reshape(-1)
        if self.signed:
            mean, variance = read_noise_moments(camera, y, gain, read, offset, self.response_dn)
        else:
            mean, variance = shot_noise_moments(camera, y + TINY_E, gain, read, offset, self.response_dn)
        return mean.reshape(shape), variance.reshape(shape)

    def _continuous_moments(self, y_e: Tensor) -> tuple[Tensor, Tensor]:
        camera = self._camera
        gain, read, offset = (_tensor(v) for v in (camera.system_gain_dn_per_e, camera.read_noise_e, camera.offset_dn))
        spread2 = read**2 + (torch.zeros_like(y_e) if self.signed else y_e)
        if camera.response.is_linear:
            return offset + gain * y_e, gain**2 * spread2
        if camera.response.form == "two-slope":
            spread = gain * torch.sqrt(spread2 + TINY_E)
            mean, variance = piecewise_moments(camera.response, gain * y_e, spread)
            return offset + mean, variance
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        u = gain[..., None] * (y_e[..., None] + torch.sqrt(spread2 + TINY_E)[..., None] * _tensor(nodes))
        values, share = self.response_dn(u), _tensor(weights / weights.sum())
        mean = values @ share
        return offset + mean, (values - mean[..., None]) ** 2 @ share

    # ---- probabilities --------------------------------------------------------------------------------------

    def log_pmf(self, z_dn: Tensor, y_e: Tensor) -> Tensor:
        """Natural log of P(Z = z | Y = y), or of the density per DN for real values; broadcasts.

        Gradients reach ``y_e``, and for real values ``z_dn``. Codes that cannot occur give -inf.
        """
        self._check(y_e)
        camera = self._camera
        z, y = torch.broadcast_tensors(z_dn.to(torch.float64), y_e)
        shape = torch.broadcast_shapes(tuple(z.shape), np.broadcast_shapes(*map(np.shape, self._values())))
        z, y = z.expand(shape), y.expand(shape)
        if camera.bit_depth is None:
            return self._log_density(z, y)
        codes = z.detach().numpy()
        possible = (codes == np.floor(codes)) & (codes >= camera.black_clip_dn) & (codes <= camera.white_clip_dn)
        code = np.where(possible, codes, camera.black_clip_dn)
        lower, upper = (np.broadcast_to(camera.thresholds_e(code + k), shape).ravel() for k in (0, 1))
        read = self._parameters(tuple(shape))[1]
        flat = y.reshape(-1)
        if self.signed:
            out = log_normal_interval(lower, upper, flat, read)
        else:
            out = log_shot_interval(lower, upper, flat + TINY_E, read)
        allowed = torch.from_numpy(np.ascontiguousarray(possible.ravel() & (upper > lower)))
        return torch.where(allowed, torch.clamp(out, max=0.0), -torch.inf).reshape(shape)

    def _values(self) -> tuple[Any, Any, Any]:
        camera = self._camera
        return camera.system_gain_dn_per_e, camera.read_noise_e, camera.offset_dn

    def _log_density(self, z: Tensor, y: Tensor) -> Tensor:
        camera, shape = self._camera, tuple(z.shape)
        gain, read, offset = (torch.from_numpy(v.copy()) for v in self._parameters(shape))
        v = z.reshape(-1) - offset
        flat = y.reshape(-1)
        u, jacobian = v, -torch.log(gain)
        reached = torch.ones_like(v, dtype=torch.bool)
        if not camera.response.is_linear:
            # Newton's last step from the exact inverse: same value, and the gradient 1/f' of the inverse.
            start = camera.response.inverse(v.detach().numpy())
            reached = torch.from_numpy(np.isfinite(start))
            u0 = torch.from_numpy(np.where(np.isfinite(start), start, 0.0))
            slope = self.response_slope(u0)
            reached = reached & (slope > 0)
            safe = torch.where(reached, slope, torch.ones_like(slope))
            u = u0 + (v - self.response_dn(u0)) / safe
            jacobian = jacobian - torch.log(self.response_slope(torch.where(reached, u, torch.zeros_like(u))))
        w = u / gain
        if self.signed:
            value = -0.5 * ((w - flat) / read) ** 2 - torch.log(read) - 0.5 * np.log(2 * np.pi)
        elif bool((read == 0).all()):
            # Without read noise measurements stay on the lattice offset + K n: a probability, not a density.
            n = torch.round(w).detach()
            reached = reached & (torch.abs(w - n) < 1e-6 * torch.clamp(n.abs(), min=1.0)) & (n >= 0)
            n = torch.clamp(n, min=0.0)
            reached = reached & ((flat > 0) | (n == 0))
            value = torch.xlogy(n, flat + TINY_E) - flat - torch.lgamma(n + 1)
            jacobian = torch.zeros_like(jacobian)
        else:
            value = log_shot_density(w, flat + TINY_E, read)
        return torch.where(reached, value + jacobian, -torch.inf).reshape(shape)

    # ---- samples --------------------------------------------------------------------------------------------

    def sample(self, y_e: Tensor, generator: Any, *, shot_noise: ShotNoise = "poisson", rounded: bool = True) -> Tensor:
        r"""One measurement of every pixel in DN, float64, with a gradient in the charge.

        Parameters
        ----------
        y_e : tensor
            Collected charge, electrons.
        generator : torch.Generator
        shot_noise : {"poisson", "normal"}
            ``poisson`` draws n exactly and moves it with y at a fixed standardised residual,
            dn/dy = 1 + (n - y)/(2 y): values are exact, and so are the gradients of the mean and the variance of n;
            those of higher moments are approximate. ``normal`` is n = y + sqrt(y) g, good above some 20 e-.
        rounded : bool
            Round and clip to codes. The gradient passes rounding as if it were not there, and is 0 at the clips.

        Notes
        -----
        Read noise, and kind ``gaussian`` as a whole, is reparametrised exactly: u = K (n + r g).
        """
        self._check(y_e)
        camera = self._camera
        gain, read, offset = (_tensor(v) for v in self._values())
        charge = y_e
        if not self.signed:
            root = torch.sqrt(y_e + TINY_E)
            if shot_noise == "poisson":
                with torch.no_grad():
                    residual = (torch.poisson(y_e, generator=generator) - y_e) / root
            else:
                residual = torch.randn(y_e.shape, generator=generator, dtype=torch.float64)
            charge = y_e + root * residual
        if self.kind != "poisson":
            charge = charge + read * torch.randn(y_e.shape, generator=generator, dtype=torch.float64)
        x = offset + self.response_dn(gain * charge)
        if camera.bit_depth is None or not rounded:
            return x
        hair = 1e-9 if bool((read == 0).all()) else 0.0
        if hair and shot_noise == "poisson":
            hair = 1e-6  # y + (n - y) is n up to rounding error
        codes = torch.floor(x + 0.5 + hair)
        through = x + (codes - x).detach()
        return torch.clamp(through, float(camera.black_clip_dn), float(camera.white_clip_dn))


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))
