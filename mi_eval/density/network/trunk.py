"""Two layers over the causal neighbourhood, as a pure function of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from mi_eval.density.network.features import NEIGHBOURS, RADIUS, Features, border
from mi_eval.density.patches import FloatArray
from mi_eval.torch_extra import Tensor, torch

WIDTH = 64
N_CONTEXT = 6
_NEAR = len(NEIGHBOURS)
_FULL_INPUTS = 2 * _NEAR + N_CONTEXT
# Differences beyond this many predicted standard deviations say no more.
_LARGEST = 8.0


class Trunk(Protocol):
    """From the inputs of a batch of patches to outputs for every pixel that only its past decides."""

    def initial_weights(self, output_bias: FloatArray, seed: Sequence[int]) -> list[Tensor]:
        """Weights whose outputs are close to ``output_bias``."""
        ...

    def __call__(self, weights: Sequence[Tensor], batch: Sequence[Tensor]) -> Tensor:
        """Outputs, (n, p*p, n_outputs)."""
        ...


def as_tensors(features: Features, patch_size: int, device: object) -> tuple[Tensor, ...]:
    """Features as (n, p, p) tensors, context (n, p*p, 6)."""
    square = (len(features.mean), patch_size, patch_size)
    flat = (features.stabilised, features.innovation, features.mean, features.sd)
    images = [torch.from_numpy(a).reshape(square).to(device) for a in flat]
    return (*images, torch.from_numpy(features.context).to(device))


def normal(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> FloatArray:
    """Random weights; ``gain`` times unit gain, the last axis being the outputs."""
    return np.asarray(gain * rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1])))


def trainable(arrays: Sequence[FloatArray], device: object) -> list[Tensor]:
    """Weights in float32 on their device."""
    return [torch.tensor(a.astype(np.float32), device=device, requires_grad=True) for a in arrays]


class CausalTrunk:
    """40 earlier neighbours within 4 pixels, two layers of 64."""

    def __init__(self, patch_size: int, device: object) -> None:
        rows, columns = np.divmod(np.arange(patch_size**2), patch_size)
        width = patch_size + 2 * RADIUS
        places = [(rows + RADIUS + dy) * width + columns + RADIUS + dx for dy, dx in NEIGHBOURS]
        self.device = device
        # 1 where a neighbour lies inside the patch, (p*p, 40), and the neighbours' places in a padded, flat patch.
        self.inside = torch.from_numpy(border(patch_size)).to(device)
        self.places = torch.from_numpy(np.stack(places, axis=1).ravel()).to(device)

    def initial_weights(self, output_bias: FloatArray, seed: Sequence[int]) -> list[Tensor]:
        """Unit gain, the last layer small."""
        rng = np.random.default_rng(seed)
        arrays = [
            normal(rng, (_FULL_INPUTS, WIDTH), 1.0),
            normal(rng, (_NEAR, WIDTH), 0.5),
            np.zeros(WIDTH),
            normal(rng, (WIDTH, WIDTH), 1.4),
            np.zeros(WIDTH),
            normal(rng, (WIDTH, output_bias.size), 0.1),
            output_bias,
        ]
        return trainable(arrays, self.device)

    def __call__(self, weights: Sequence[Tensor], batch: Sequence[Tensor]) -> Tensor:
        """Outputs, (n, p*p, n_outputs)."""
        x, innovation, mean, sd, context = batch
        n = x.shape[0]
        # Neighbours relative to the prediction; outside the patch they say nothing.
        near = self._neighbourhood(x) - mean.reshape(n, -1, 1)
        near = torch.clamp(near * (self.inside / sd.reshape(n, -1, 1)), -_LARGEST, _LARGEST)
        full = torch.cat([near, self._neighbourhood(innovation), context], dim=2)
        first, edge, bias1, second, bias2, last, bias3 = weights
        silu = torch.nn.functional.silu
        hidden = silu(full @ first + ((1 - self.inside) @ edge + bias1))
        hidden = silu(hidden @ second + bias2)
        return hidden @ last + bias3

    def _neighbourhood(self, x: Tensor) -> Tensor:
        """The 40 earlier neighbours of each pixel, 0 outside the patch, (n, p*p, 40)."""
        padded = torch.nn.functional.pad(x, (RADIUS, RADIUS, RADIUS, 0)).reshape(len(x), -1)
        return padded.index_select(1, self.places).reshape(len(x), -1, _NEAR)
