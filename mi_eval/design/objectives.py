r"""Information as a differentiable function of a design: two surrogates with one meaning.

Both use second moments alone: the covariance C of the frames' light, and the mean N of the noise's variance at that
light, :math:`N = E[\sigma^2(y)]`, whose Poisson part is the mean light itself:

.. math:: I = \frac{1}{2D} \log_2 \det(1 + N^{-1/2} C N^{-1/2})

For Gaussian frames this is never above the true information, whatever the law of the noise with that variance: the
linear estimate of the light has just this error covariance, and any estimate bounds the information from below.
The other choice, the mean of :math:`\log \sigma^2(y)` for the noise's entropy, would be an upper bound, and an encoder
that maximises an upper bound learns to hide correlation from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.design.problem import DesignProblem
from mi_eval.systems.protocol import ImagingSystem, Parameters
from mi_eval.torch_extra import Tensor, torch

#: Bits per pixel that an excess over the full well of its own size costs; an excess of 1 % costs 0.1.
_WELL_PENALTY = 1000.0
_WELL_SIGMAS = 3.0


class Objective(ABC):
    """Bits per pixel of a design, and its penalty for light above the full well."""

    name: str
    #: Values of single steps scatter: the last design of an ascent is taken, not the luckiest.
    noisy = False

    def prepare(self, step: int, parameters: Parameters) -> None:
        """Whatever a step needs before its gradient; depends on the step and the parameters alone."""
        return

    @abstractmethod
    def bits(self, parameters: Parameters) -> Tensor:
        """Information, bits per pixel."""

    @abstractmethod
    def penalty(self, parameters: Parameters) -> Tensor:
        """0 or more, bits per pixel."""

    def report(self, parameters: Parameters) -> float:
        """Bits per pixel to be reported for a design; the same every time."""
        with torch.no_grad():
            return float(self.bits(parameters))

    @property
    def cap_bits_per_pixel(self) -> float | None:
        """The most that the reported value can be, whatever the information; None where there is no such cap."""
        return None


class SpectralObjective(Objective):
    """Frames as stationary Gaussian fields on the torus, through the system's transfer function.

    The spectrum of the objects is the known one, or is measured once on ``n_objects`` of them; a step then costs
    one Fourier transform of the optics, whatever the number of objects.
    """

    name = "spectral"

    def __init__(self, problem: DesignProblem, n_objects: int, seed: int) -> None:
        system = problem.system
        if system.transfer(system.start("conventional", np.random.default_rng(0))) is None:
            raise PhotonbitsError(
                f"objective spectral with system {system.name}",
                legal="full",
                remedy="The system has no transfer function: it does not shift frames with objects",
            )
        self._problem = problem
        known = problem.known_spectrum()
        planes, height, width = system.object_shape
        if known is not None:
            self._spectra = torch.diag_embed(torch.from_numpy(known)[..., None].expand(height, width, planes))
            self._spectra = self._spectra.to(torch.complex128)
            self._mean = torch.zeros(planes, dtype=torch.float64)
            return
        objects = problem.draw(n_objects, np.random.default_rng([seed, 11]))
        self._mean = objects.mean(dim=(0, 2, 3))
        centred = objects - objects.mean(dim=0)
        if not problem.objects.periodic:
            window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
            centred = centred * torch.from_numpy(window / np.sqrt(np.mean(window**2)))
        spectrum = torch.fft.fft2(centred)
        scale = (n_objects - 1) * height * width
        # (height, width, planes, planes): cross-spectra between planes.
        self._spectra = torch.einsum("nphw,nqhw->hwpq", spectrum, spectrum.conj()) / scale

    def _light(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """Spectrum of the frames (height, width) and their mean light."""
        transfer: Any = self._problem.system.transfer(parameters)
        spectrum = torch.einsum("phw,hwpq,qhw->hw", transfer, self._spectra, transfer.conj()).real
        return torch.clamp(spectrum, min=0.0), (transfer[:, 0, 0].real * self._mean).sum()

    def bits(self, parameters: Parameters) -> Tensor:
        """Mean over frequencies of log2(1 + S/N)/2, bits per pixel."""
        spectrum, mean = self._light(parameters)
        problem = self._problem
        charge = problem.charge_e(mean, parameters)
        noise = problem.channel.noise_variance_e2(charge)
        return 0.5 * torch.log1p(spectrum / noise).mean() / np.log(2)

    def penalty(self, parameters: Parameters) -> Tensor:
        """For mean light plus 3 standard deviations of it above the full well."""
        well = self._problem.full_well_e
        spectrum, mean = self._light(parameters)
        if well is None:
            return torch.zeros((), dtype=torch.float64)
        charge = self._problem.charge_e(mean, parameters)
        high = charge + _WELL_SIGMAS * torch.sqrt(spectrum.mean() + torch.clamp(charge, min=0.0))
        return _WELL_PENALTY * torch.clamp(high / well - 1, min=0.0) ** 2


def patch_of(system: ImagingSystem, patch_size: int) -> int:
    """The patch that a system takes for the size that was asked for; PhotonbitsError if frames do not hold it."""
    patch_size = system.patch_size(patch_size)
    if patch_size < 2 or patch_size > min(system.frame_shape):
        raise PhotonbitsError(
            f"patch_size {patch_size} with frames of {system.frame_shape}",
            legal="2 or more, within the frame",
        )
    return patch_size


class FullObjective(Objective):
    """Patches of frames as Gaussian vectors with any covariance, from the forward model of a fixed set of objects.

    Costs the forward model of ``n_objects`` objects a step; takes any system, mosaics included: patches are cut at
    multiples of the system's period.
    """

    name = "full"

    def __init__(self, problem: DesignProblem, n_objects: int, seed: int, patch_size: int) -> None:
        system = problem.system
        patch_size = patch_of(system, patch_size)
        self._problem = problem
        self._patch = patch_size
        period = system.period_px
        self._stride = max(period, patch_size // 2 // period * period)
        self._objects = problem.draw(n_objects, np.random.default_rng([seed, 12]))
        places = [(side - patch_size) // self._stride + 1 for side in system.frame_shape]
        count = n_objects * places[0] * places[1]
        if count < 10 * patch_size**2:
            raise PhotonbitsError(
                f"{count} patches for a covariance of {patch_size**2} pixels",
                legal=f"{10 * patch_size**2} or more",
                remedy="Use more objects or smaller patches",
            )

    def _patches(self, frames: Tensor) -> Tensor:
        """(n, pixels) of the patches of frames."""
        cut = frames.unfold(1, self._patch, self._stride).unfold(2, self._patch, self._stride)
        return cut.reshape(-1, self._patch**2)

    def bits(self, parameters: Parameters) -> Tensor:
        """log2 det(1 + C/N)/2 over the patch, bits per pixel."""
        problem = self._problem
        light = self._patches(problem.system.forward(self._objects, parameters))
        charge = problem.charge_e(light, parameters)
        noise = problem.channel.noise_variance_e2(charge).mean(dim=0)
        centred = (light - light.mean(dim=0)) / torch.sqrt(noise)
        covariance = centred.T @ centred / (light.shape[0] - 1)
        whole = covariance + torch.eye(self._patch**2, dtype=torch.float64)
        root = torch.linalg.cholesky(whole)
        return torch.log2(torch.diagonal(root)).sum() / self._patch**2

    def penalty(self, parameters: Parameters) -> Tensor:
        """For pixels whose charge plus 3 standard deviations of shot noise lies above the full well."""
        return well_penalty(self._problem, self._objects, parameters)


def well_penalty(problem: DesignProblem, objects: Tensor, parameters: Parameters) -> Tensor:
    """For pixels whose charge plus 3 standard deviations of shot noise lies above the full well, bits per pixel."""
    well = problem.full_well_e
    if well is None:
        return torch.zeros((), dtype=torch.float64)
    charge = problem.charge_e(problem.system.forward(objects, parameters), parameters)
    high = charge + _WELL_SIGMAS * torch.sqrt(torch.clamp(charge, min=1e-9))
    return _WELL_PENALTY * (torch.clamp(high / well - 1, min=0.0) ** 2).mean()


def make_objective(
    problem: DesignProblem, name: str, *, n_objects: int, seed: int, patch_size: int, refit_every: int = 5
) -> Objective:
    """The objective of a name: ``spectral``, ``full``, ``density`` or ``infonce``."""
    if n_objects < 16:
        raise PhotonbitsError(f"{n_objects} objects", legal="16 or more")
    if name == "spectral":
        return SpectralObjective(problem, n_objects, seed)
    if name == "full":
        return FullObjective(problem, n_objects, seed, patch_size)
    if name == "density":
        from mi_eval.design.density_objective import DensityObjective

        return DensityObjective(problem, n_objects, seed, patch_size, refit_every)
    if name == "infonce":
        from mi_eval.design.contrastive_objective import ContrastiveObjective

        return ContrastiveObjective(problem, n_objects, seed, patch_size)
    raise PhotonbitsError(f"objective {name!r}", legal="spectral, full, density, infonce")
