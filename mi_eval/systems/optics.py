"""What several systems share: convolution, pupils, point-spread functions, projections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from mi_eval.torch_extra import Tensor, torch

FloatArray = NDArray[np.float64]


def convolve(objects: Tensor, transfer: Tensor, margin_px: int = 0) -> Tensor:
    """Objects (n, planes, h, w) through a transfer function (planes, h, w); planes added, the margin cut off.

    Convolution is circular; a margin of the reach of the point-spread function removes what wrapped around.
    """
    height, width = objects.shape[-2:]
    spectrum = torch.fft.rfft2(objects) * transfer[..., : width // 2 + 1]
    frames = torch.fft.irfft2(spectrum.sum(dim=1), s=(height, width))
    if margin_px:
        frames = frames[..., margin_px : height - margin_px, margin_px : width - margin_px]
    return frames


def cropped_shape(shape: tuple[int, int], margin_px: int, where: str) -> tuple[int, int]:
    """Frame size once the margin is cut off."""
    if margin_px < 0 or min(shape) - 2 * margin_px < 2:
        raise PhotonbitsError(
            f"margin_px {margin_px} with objects of {shape[0]} x {shape[1]}",
            where=where,
            legal="0 or more, and less than half of the smaller side",
        )
    return shape[0] - 2 * margin_px, shape[1] - 2 * margin_px


def pupil_grid(shape: tuple[int, int], pitch_um: float) -> tuple[FloatArray, FloatArray]:
    """Spatial frequencies (cycles/um) of the rows and columns of a grid, in FFT order."""
    rows = np.fft.fftfreq(shape[0], pitch_um)
    columns = np.fft.fftfreq(shape[1], pitch_um)
    return np.meshgrid(rows, columns, indexing="ij")[0], np.meshgrid(rows, columns, indexing="ij")[1]


def oversampling(pitch_um: float, cutoff_per_um: float) -> int:
    """Smallest factor of finer sampling at which intensities up to the cut-off (cycles/um) do not alias."""
    return max(1, int(np.ceil(2 * pitch_um * cutoff_per_um - 1e-9)))


def check_pupil(shape: tuple[int, int], pitch_um: float, radius_per_um: float, where: str) -> None:
    """Raise PhotonbitsError unless the pupil covers enough frequencies of the grid to have a shape."""
    samples = radius_per_um * min(shape) * pitch_um
    if samples < 3:
        raise PhotonbitsError(
            f"a pupil of {samples:.2g} frequency samples radius",
            where=where,
            legal="3 or more",
            remedy="Use larger frames, a coarser pitch or a larger aperture",
        )


def intensity_psf(pupil: Tensor) -> Tensor:
    """|Fourier transform|^2 of a pupil (..., h, w) in FFT order, scaled to sum 1."""
    field = torch.fft.ifft2(pupil)
    psf = field.real**2 + field.imag**2
    return psf / psf.sum(dim=(-2, -1), keepdim=True)


def sampled_at_pixels(psf: Tensor, fine_pitch_um: float, every: int, pixel_um: Tensor | float) -> Tensor:
    """A finely sampled point-spread function, integrated over square pixels and sampled at every ``every``-th point."""
    rows, columns = pupil_grid((psf.shape[-2], psf.shape[-1]), fine_pitch_um)
    box = torch.sinc(torch.from_numpy(rows) * pixel_um) * torch.sinc(torch.from_numpy(columns) * pixel_um)
    blurred = torch.fft.ifft2(torch.fft.fft2(psf) * box).real
    return blurred[..., ::every, ::every] * every**2


def shifted_picture(psf: Tensor, half: int = 16) -> FloatArray:
    """A point-spread function in FFT order as an image with its origin in the middle, at most 2 x ``half`` wide."""
    centred = np.fft.fftshift(np.asarray(psf.detach().numpy(), dtype=np.float64))
    row, column = centred.shape[0] // 2, centred.shape[1] // 2
    return centred[max(row - half, 0) : row + half, max(column - half, 0) : column + half]


def budget_tangent(values: Tensor, gradient: Tensor, prices: Tensor, cap: float) -> Tensor:
    """Gradient less the worth of the budget itself, lambda times the prices; as it is where spending less pays.

    At an optimum under sum(prices * values) = budget the entries between 0 and the cap have gradient lambda * price.
    """
    free = (values > 0) & (values < cap)
    spent = torch.where(free, prices * values, 0.0).sum()
    if float(spent) <= 0:
        return gradient
    worth = torch.where(free, gradient * values, 0.0).sum() / spent
    return gradient - torch.clamp(worth, min=0.0) * prices


def capped_simplex(values: Tensor, total: float, cap: float, weights: Tensor | None = None) -> Tensor:
    """Nearest point to ``values`` with entries in [0, cap] whose (weighted) sum is ``total``: water level by bisection.

    With weights w the point nearest in the norm sum w (t - v)^2 is clip(v - level, 0, cap) as well.
    """
    w = torch.ones_like(values) if weights is None else weights
    if cap * float(w.sum()) < total * (1 - 1e-12):
        raise PhotonbitsError(f"a total of {total:g}", legal=f"at most {cap * float(w.sum()):g}, the cap everywhere")
    low, high = float(values.min()) - cap - total, float(values.max())
    for _ in range(200):
        middle = 0.5 * (low + high)
        if float((w * torch.clamp(values - middle, 0.0, cap)).sum()) > total:
            low = middle
        else:
            high = middle
    found = torch.clamp(values - high, 0.0, cap)
    short = total - float((w * found).sum())
    free = (found > 0) & (found < cap)
    if bool(free.any()):
        found = torch.where(free, found + short / float(w[free].sum()), found)
    return torch.clamp(found, 0.0, cap)
