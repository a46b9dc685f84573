"""What a source of known information is, and the helpers that its kinds share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError

FloatArray = NDArray[np.float64]
Family = Literal["gaussian", "independent", "templates", "ising", "scale-mixture", "lamp", "null"]


class KnownInformation(NamedTuple):
    """I(X;Z) of a patch over its pixels, in bits per pixel, and the standard error of that number.

    ``std`` is 0 for closed forms and quadratures, whose error is below 1e-5 bit; else that of a Monte-Carlo mean.
    """

    value: float
    std: float


class Sample(NamedTuple):
    """Frames of a source: codes (n_frames, height, width) and the collected charge behind them, electrons."""

    frames: NDArray[Any]
    light_e: FloatArray


class Source(Protocol):
    """A law of scenes and a camera, for which I(X;Z) of a patch can be computed.

    Every frame is an independent draw. It has the size of one patch, except where pixels are independent of each
    other and a camera with maps needs frames of its own size.
    """

    family: ClassVar[Family]

    @property
    def name(self) -> str:
        """What `mi-eval truth` calls it."""

    @property
    def description(self) -> str:
        """One line about it."""

    @property
    def noise_model(self) -> NoiseModel:
        """The camera, known exactly."""

    def sample(self, n_patches: int, patch_size: int, rng: np.random.Generator) -> Sample:
        """Return frames that hold ``n_patches`` patches (the last frame may hold more)."""

    def information_bits(self, patch_size: int) -> KnownInformation:
        """I(X;Z) over the pixels of a patch: the truth."""

    def surprise_bits(self, patches: NDArray[Any]) -> FloatArray:
        """Return -log2 p(z) of patches (n, p, p), bits a patch, shape (n,).

        No density model codes shorter on average. The mean over the patches that a model has coded is what to
        compare its code length with: the chance of the draw is in both.
        """


def check_patch_size(patch_size: int, largest: int, name: str) -> None:
    """Raise PhotonbitsError unless a source can make patches of this size."""
    if not 2 <= patch_size <= largest:
        raise PhotonbitsError(
            f"patch size {patch_size} for source {name}",
            legal=f"2 to {largest} pixels",
            remedy="Choose another --patch-size, or other cases",
        )


def pixel_sampler(noise_model: NoiseModel, light_e: FloatArray, rng: np.random.Generator) -> Sample:
    """Measure light once."""
    return Sample(noise_model.sample(light_e, rng), light_e)


def monte_carlo_mean(values: FloatArray, controls: Sequence[FloatArray] = ()) -> KnownInformation:
    r"""Mean of ``values`` and its standard error, with control variates whose means are 0.

    The regression :math:`v_i = \mu + \sum_k \beta_k c_{ik} + e_i` gives :math:`\mu` with the scatter of the
    residuals alone (Owen 2013, *Monte Carlo theory, methods and examples*, section 8.9). Estimated coefficients
    bias it by the order of 1/n.
    """
    design = np.column_stack([np.ones(values.size), *controls])
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ (design.T @ values)
    residual = values - design @ coefficients
    dof = max(values.size - design.shape[1], 1)
    return KnownInformation(float(coefficients[0]), float(np.sqrt(inverse[0, 0] * (residual @ residual) / dof)))


def code_log_masses(noise_model: NoiseModel, codes: NDArray[Any], light_e: FloatArray) -> tuple[FloatArray, int]:
    """Log p(code | y) for all codes between the least and the largest: (n_charges, n_codes), and the first code.

    Natural log. Cells of less than 1e-17 are left out by the table and get -inf.
    """
    first, last = int(codes.min()), int(codes.max())
    table = noise_model.code_table(light_e)
    start = first - table.first_code
    mass = table.pmf[:, start : start + last - first + 1].toarray()
    with np.errstate(divide="ignore"):
        return np.log(mass), first
