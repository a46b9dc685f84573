"""A gated PixelCNN, the slow reference: a receptive field of the whole patch, with the heads of the causal network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mi_eval.density.network.fitted import FittedNetwork, fit_network
from mi_eval.density.network.training import Schedule
from mi_eval.density.network.trunk import N_CONTEXT, normal, trainable
from mi_eval.density.patches import FloatArray, PatchSet
from mi_eval.density.scale_mixture import FittedScaleMixture
from mi_eval.torch_extra import Tensor, torch

_CHANNELS = 32
_LAYERS = 4
_INPUTS = 3
_REACH = 2  # of the kernels, 5 x 5; the first has 7 x 7
_WEIGHTS_PER_LAYER = 8


@dataclass(frozen=True)
class GatedPixelCNN:
    """Stacks of masked convolutions, one above a pixel and one to its left, with gates (van den Oord et al. 2016).

    Its inputs are the stabilised pixels, the Gaussian innovations and, so that borders are seen, ones. Heads and
    training are those of `CausalNetwork`, but for five times as many pixel visits and decaying weights: without decay
    its 160,000 weights learn the training frames by heart. On a CPU minutes where the causal network takes seconds.

    Parameters
    ----------
    schedule : Schedule
    learnt_by_chance : float
        Share of the cost of all parameters that is left after the finite-sample correction, at most (measured).

    Notes
    -----
    Conditional image generation with PixelCNN decoders, arXiv 1606.05328.
    """

    name: str = "gated_pixelcnn"
    schedule: Schedule = field(
        default_factory=lambda: Schedule(
            pixel_visits=1e7, most_epochs=10.0, batch_patches=16, learning_rate=0.004, weight_decay=1.0
        )
    )
    learnt_by_chance: float = 0.02

    def fit(
        self, train: PatchSet, validation: PatchSet, seed: int, base: FittedScaleMixture | None = None
    ) -> FittedNetwork:
        """Fit to `train`, stopping on `validation`; `base`, if fitted already to the same, is not refitted."""
        return fit_network(self.name, PixelCNNTrunk, self.schedule, train, validation, seed, base)


class PixelCNNTrunk:
    """Vertical and horizontal stack of gated masked convolutions."""

    def __init__(self, patch_size: int, device: object) -> None:
        self.patch_size = patch_size
        self.device = device

    def initial_weights(self, output_bias: FloatArray, seed: Sequence[int]) -> list[Tensor]:
        """Unit gain, the last layer small. Kernels are (rows, columns, inputs, outputs)."""
        rng = np.random.default_rng(seed)
        c = _CHANNELS
        arrays = [normal(rng, (3, 7, _INPUTS, c), 1.0), normal(rng, (1, 3, _INPUTS, c), 1.0)]
        for _ in range(_LAYERS):
            arrays += [
                normal(rng, (_REACH + 1, 2 * _REACH + 1, c, 2 * c), 1.0),
                np.zeros(2 * c),
                normal(rng, (1, _REACH + 1, c, 2 * c), 1.0),
                np.zeros(2 * c),
                normal(rng, (1, 1, c, 2 * c), 1.0),
                normal(rng, (1, 1, c, c), 0.5),
                np.zeros(c),
                normal(rng, (N_CONTEXT, 2 * c), 0.5),
            ]
        arrays += [normal(rng, (c, 2 * c), 1.4), np.zeros(2 * c), normal(rng, (2 * c, output_bias.size), 0.1)]
        return trainable([*arrays, output_bias], self.device)

    def __call__(self, weights: Sequence[Tensor], batch: Sequence[Tensor]) -> Tensor:
        """Outputs, (n, p*p, n_outputs)."""
        x, innovation, _, _, context = batch
        n, size = x.shape[0], self.patch_size
        image = torch.stack([torch.asinh(x / 3), innovation, torch.ones_like(x)], dim=1)
        # Strictly above, and strictly to the left: what the two stacks see of the codes.
        above = _convolve(image, weights[0], rows_above=3, drop_last_row=True)
        left = _convolve(image, weights[1], left_only=True, exclude_self=True) + above
        for layer in range(_LAYERS):
            part = weights[2 + layer * _WEIGHTS_PER_LAYER : 2 + (layer + 1) * _WEIGHTS_PER_LAYER]
            above, left = self._gated(part, above, left, context)
        first, bias, last, output_bias = weights[-4:]
        flat = left.reshape(n, _CHANNELS, size * size).transpose(1, 2)
        return torch.nn.functional.silu(flat @ first + bias) @ last + output_bias

    def _gated(self, part: Sequence[Tensor], above: Tensor, left: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        kernel_v, bias_v, kernel_h, bias_h, across, out, bias_out, conditional = part
        n, size = above.shape[0], self.patch_size
        told = (context @ conditional).transpose(1, 2).reshape(n, -1, size, size)
        vertical = _convolve(above, kernel_v, rows_above=_REACH) + bias_v[:, None, None]
        horizontal = _convolve(left, kernel_h, left_only=True) + bias_h[:, None, None] + told
        horizontal = horizontal + _convolve(vertical[:, :_CHANNELS], across)
        gated = _gate(horizontal)
        return above + _gate(vertical), left + _convolve(gated, out) + bias_out[:, None, None]


def _gate(x: Tensor) -> Tensor:
    signal, gate = torch.chunk(x, 2, dim=1)
    return torch.tanh(signal) * torch.sigmoid(gate)


def _convolve(
    image: Tensor,
    kernel: Tensor,
    *,
    rows_above: int = 0,
    drop_last_row: bool = False,
    left_only: bool = False,
    exclude_self: bool = False,
) -> Tensor:
    """Convolution with a kernel (rows, columns, inputs, outputs) that reaches up, or to the left, or nowhere."""
    rows, columns = kernel.shape[0], kernel.shape[1]
    filters = kernel.permute(3, 2, 0, 1)
    side = columns - 1 if left_only else columns // 2
    right = 0 if left_only else columns // 2
    if drop_last_row:  # the kernel ends one row above
        image = torch.nn.functional.pad(image, (side, right, rows_above, 0))[:, :, :-1]
    elif exclude_self:  # one pixel further to the left
        image = torch.nn.functional.pad(image, (side + 1, right, 0, 0))[:, :, :, :-1]
    else:
        image = torch.nn.functional.pad(image, (side, right, rows - 1, 0))
    return torch.nn.functional.conv2d(image, filters)
