"""Two-level images whose neighbours tend to agree, through the full camera model: exact by transfer matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.truth.ising_lattice import LARGEST_SIZE, draw_images, log_partition, mean_alignment
from mi_eval.truth.source import (
    Family,
    FloatArray,
    KnownInformation,
    Sample,
    check_patch_size,
    monte_carlo_mean,
    pixel_sampler,
)


@dataclass(frozen=True)
class IsingImages:
    r"""Light of two levels, laid out as an Ising model on the patch, free edges.

    For any codes z the transfer matrix gives

    .. math:: p(z) = \frac1{Z(0)} \sum_x e^{J \sum x_i x_j} \prod_i p(z_i|x_i)

    exactly, so :math:`I = E \log_2 p(z|x)/p(z)` is a plain Monte-Carlo mean. Three quantities of known mean take most
    of its scatter away: the single-pixel information density :math:`\sum_i \log p(z_i|x_i)/p(z_i)`, the surprise
    :math:`-\sum_i \log p(z_i)` under independent pixels (each pixel is + with probability 1/2, by symmetry), and
    the alignment of neighbours.

    A patch is a whole lattice, not a window of a larger one: patches of two sizes are two sources.

    Parameters
    ----------
    low_e, high_e : float
        Collected charge of the two levels, electrons.
    coupling : float
        J; 0.4407 is critical on an infinite lattice.
    """

    family: ClassVar[Family] = "ising"

    name: str
    description: str
    noise_model: NoiseModel
    low_e: float
    high_e: float
    coupling: float
    monte_carlo_patches: int = 1000

    def __post_init__(self) -> None:
        if self.noise_model.bit_depth is None or self.noise_model.maps:
            raise PhotonbitsError("Ising images with real values or maps", legal="integer codes, without maps")

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Draw frames of one patch each."""
        check_patch_size(patch_size, LARGEST_SIZE, self.name)
        images = draw_images(n_patches, patch_size, self.coupling, rng)
        return pixel_sampler(self.noise_model, np.where(images, self.high_e, self.low_e), rng)

    def information_bits(self, patch_size: int) -> KnownInformation:
        """I(X;Z), bits per pixel, with its Monte-Carlo standard error."""
        frames, light = self.sample(self.monte_carlo_patches, patch_size, np.random.default_rng([6, patch_size]))
        up = light > (self.low_e + self.high_e) / 2
        dim, bright = self._log_masses(frames)
        known = np.where(up, bright, dim).sum(axis=(1, 2))
        alone = (np.logaddexp(dim, bright) - np.log(2)).sum(axis=(1, 2))
        pixels = patch_size**2
        marginal, conditional = self._pixel_entropies_nats()
        spin = 2.0 * up - 1
        alignment = (spin[:, 1:] * spin[:, :-1]).sum(axis=(1, 2)) + (spin[:, :, 1:] * spin[:, :, :-1]).sum(axis=(1, 2))
        controls = (
            known - alone - pixels * (marginal - conditional),
            -alone - pixels * marginal,
            alignment - mean_alignment(patch_size, self.coupling),
        )
        information = known / np.log(2) + self.surprise_bits(frames)
        return monte_carlo_mean(information / pixels, controls)

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """-log2 p(z) by transfer matrix, 6 ms a patch of 16 x 16."""
        dim, bright = self._log_masses(patches)
        nats = np.maximum(dim, bright).sum(axis=(1, 2)) + log_partition(bright - dim, self.coupling)
        nats -= log_partition(np.zeros((1, *patches.shape[1:])), self.coupling)
        return np.asarray(-nats / np.log(2))

    def _log_masses(self, patches: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
        """Log p(z | low) and log p(z | high) of every pixel, natural, finite."""
        codes = np.arange(int(patches.min()), int(patches.max()) + 1)
        dim, bright = (self.noise_model.log_pmf(codes, level) for level in (self.low_e, self.high_e))
        return dim[patches - codes[0]], bright[patches - codes[0]]

    def _pixel_entropies_nats(self) -> tuple[float, float]:
        """H(Z) and H(Z|Y) of a single pixel, nats."""
        table = self.noise_model.code_table(np.array([self.low_e, self.high_e]))
        mass = np.asarray(table.pmf.mean(axis=0)).ravel()
        mass = mass[mass > 0]
        return float(-(mass @ np.log(mass))), float(np.mean(table.entropies_bits())) * float(np.log(2))
