"""What a small regression on the causal past still finds in the transform of codes: misfit beyond contexts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from mi_eval.density.by_channel import ChannelScale
from mi_eval.density.causal_context import NEAR, RING
from mi_eval.density.network.features import NEIGHBOURS, FeatureMap, border, compress
from mi_eval.density.patches import FloatArray, PatchSet
from mi_eval.density.pit import RecoverableBits
from mi_eval.density.scale_mixture import ScaleMixture

SingleArray = NDArray[np.float32]

_MOST_PIXELS = 1 << 18
_BASE_PIXELS = 1 << 17
_CHUNK_PIXELS = 1 << 16
_UNITS = 32
_KERNELS = 3
_VISITS = 8e5
_MOST_EPOCHS = 12.0
_BATCH = 512
_RATE = 0.01
_BETAS = (0.9, 0.99)
# Shares of the standard normal that are tried beside the regression: no code gets rarer than by the least, and all of
# it stands for having learnt nothing.
_SHARES = (1e-3, 0.1, 0.3, 0.6, 1.0)
_CHECKS = 6
# One in so many patches chooses among moments of the training and these shares.
_CHOOSING = 5
# Savings below this are not worth a second look.
_LEAST_GAIN = 1e-3
# Scores this far out say no more.
_LARGEST_SCORE = 6.0
_LARGEST_LOG_SD = 3.0


def estimate_unexplained_bits(u: FloatArray, patches: PatchSet, seed: int) -> RecoverableBits:
    r"""Bits per pixel that a regression on the causal past saves, by cross-validation over halves of the frames.

    The normal scores :math:`g_i = \Phi^{-1}(u_i)` of a true density are standard normal given the past. A network of
    two layers of 32 units is fitted to those of half of the frames and gives a law

    .. math:: p(g_i \mid z_{<i}) = w\,\varphi(g_i) + (1 - w) \sum_{k=1}^3 \pi_k\,\mathcal N(m_k, s_k^2)(g_i)

    from the inputs of the causal network (40 stabilised neighbours about the Gaussian prediction, their innovations,
    energies) and the scores of twelve neighbours; w and when to stop are chosen on a fifth of its patches. The other
    half is coded with it. Its mean saving,
    :math:`\log_2 p(g_i)/\varphi(g_i)`, is what can be had at least. A true density shows a small loss, since chance is
    learnt and does not come again. Where the saving is clear of chance the regression is fitted to half as many
    patches as well, and what it lost by that, which is what it would gain with many more (if its cost of learning falls
    as 1/n), is added.

    Parameters
    ----------
    u : ndarray (n_patches, p*p)
        Randomised transform of held-out codes; see `randomised_pit`.
    patches : PatchSet
        The same patches; ``frame_index`` is held out together.
    seed : int

    Returns
    -------
    RecoverableBits
        ``heldout_bits_per_pixel`` is the saving, ``bits_per_pixel`` with what was added. Where the first half saves
        nothing, the second is not tried.
    """
    most = max(2, _MOST_PIXELS // patches.n_pixels)
    if patches.n_patches > most:
        keep = np.linspace(0, patches.n_patches - 1, most).round().astype(np.int64)
        patches, u = patches.take(keep), u[keep]
    groups = np.unique(patches.frame_index, return_inverse=True)[1].ravel()
    if groups.max() == 0:
        groups = np.arange(u.shape[0])
    side = (np.random.default_rng([seed, 21]).permutation(int(groups.max()) + 1) % 2)[groups]
    inputs, scores = _inputs(u, patches)
    gain, fewer = np.full(u.shape[0], np.nan), np.full(u.shape[0], np.nan)

    def save(into: FloatArray, half: int, step: int) -> None:
        rows = np.flatnonzero(side != half)[::step]
        model = _fit(inputs[rows], scores[rows], np.random.default_rng([seed, 22, half]))
        into[side == half] = _saved_bits(model, inputs[side == half], scores[side == half])

    save(gain, 0, 1)
    if np.nanmean(gain) > 0:
        save(gain, 1, 1)
    coded = np.isfinite(gain)
    mean = float(gain[coded].mean())
    number = np.unique(groups[coded], return_inverse=True)[1].ravel()
    counts = np.bincount(number)
    spread = np.bincount(number, weights=gain[coded]) - counts * mean
    std = float(np.sqrt(np.sum(spread**2) * counts.size / max(counts.size - 1, 1))) / int(counts.sum())
    growth = 0.0
    if mean > max(2 * std, _LEAST_GAIN):
        for half in (0, 1):
            save(fewer, half, 2)
        growth = max(mean - float(fewer.mean()), 0.0)
    return RecoverableBits(mean + growth, std, mean)


def _inputs(u: FloatArray, patches: PatchSet) -> tuple[SingleArray, SingleArray]:
    """What the regression sees of every pixel, (n, p*p, n_inputs), and its normal score, (n, p*p)."""
    if patches.place_class is not None:
        patches = ChannelScale.of(patches).apply(patches)
    few = patches.thinned(_BASE_PIXELS)
    features = FeatureMap.of(ScaleMixture().fit(few, few, 0), patches)(patches)
    size = patches.patch_size
    tiny = 2.0**-40
    scores = np.clip(ndtri(np.clip(u, tiny, 1 - tiny)), -_LARGEST_SCORE, _LARGEST_SCORE).astype(np.float32)
    inside = border(size)
    n_near, n_scores = len(NEIGHBOURS), len(NEAR + RING)
    out = np.empty((*scores.shape, 2 * n_near + n_scores + 7), dtype=np.float32)
    places = _Places(size)
    for number, x in enumerate(places.earlier(features.stabilised, NEIGHBOURS)):
        relative = (x - features.mean) * (inside[:, number] / features.sd)
        out[:, :, number] = np.clip(relative, -8.0, 8.0)
    for number, x in enumerate(places.earlier(features.innovation, NEIGHBOURS)):
        out[:, :, n_near + number] = x
    for number, x in enumerate(places.earlier(compress(scores).astype(np.float32), NEAR + RING)):
        out[:, :, 2 * n_near + number] = x
    out[:, :, -7:-1] = features.context
    out[:, :, -1] = inside.mean(axis=1)
    return out, scores


@dataclass(frozen=True)
class _Places:
    """Earlier neighbours of every pixel of a patch, 0 outside."""

    size: int

    def earlier(self, x: SingleArray, offsets: tuple[tuple[int, int], ...]) -> Iterator[SingleArray]:
        """`x` (n, p*p) at each offset in turn."""
        p = self.size
        square = x.reshape(-1, p, p)
        for dy, dx in offsets:
            moved = np.zeros_like(square)
            if -dy < p and abs(dx) < p:
                to, source = slice(max(0, -dx), p + min(0, -dx)), slice(max(0, dx), p + min(0, dx))
                moved[:, -dy:, to] = square[:, : p + dy, source]
            yield moved.reshape(x.shape)


@dataclass(frozen=True)
class _Regression:
    """Centre and scale of the inputs, weights of the layers, and the share of the standard normal."""

    centre: SingleArray
    scale: SingleArray
    weights: list[SingleArray]
    share: float = _SHARES[0]


def _fit(inputs: SingleArray, scores: SingleArray, rng: np.random.Generator) -> _Regression:
    """Adam with cosine decay and averaged weights, mini-batches at random; patches held back choose the moment."""
    if len(scores) < _CHOOSING:
        nothing = np.zeros(inputs.shape[2], dtype=np.float32)
        return _Regression(nothing, nothing, [], share=1.0)
    choosing = np.arange(len(scores)) % _CHOOSING == _CHOOSING - 1
    judge = inputs[choosing], scores[choosing]
    x, g = inputs[~choosing].reshape(-1, inputs.shape[2]), scores[~choosing].ravel()
    model = _Regression(x.mean(axis=0), 1 / (x.std(axis=0) + np.float32(1e-6)), _first_weights(x.shape[1], rng))
    weights = model.weights
    averaged = [w.copy() for w in weights]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    batch = min(_BATCH, g.size)
    steps = max(40, round(min(_VISITS, _MOST_EPOCHS * g.size) / batch))
    order, position = rng.permutation(g.size), 0
    best = (0.0, replace(model, share=1.0))
    for step in range(1, steps + 1):
        if position + batch > g.size:
            order, position = rng.permutation(g.size), 0
        chosen = order[position : position + batch]
        position += batch
        gradients = _gradients(weights, (x[chosen] - model.centre) * model.scale, g[chosen])
        rate = _RATE * 0.5 * (1 + np.cos(np.pi * step / steps)) * min(1.0, step / 20)
        rate *= float(np.sqrt(1 - _BETAS[1] ** step) / (1 - _BETAS[0] ** step))
        share = max(1 / (1 + 0.05 * step), 1e-3)
        for w, mean, square, gradient, average in zip(weights, first, second, gradients, averaged, strict=True):
            mean += np.float32(1 - _BETAS[0]) * (gradient - mean)
            square += np.float32(1 - _BETAS[1]) * (gradient * gradient - square)
            w -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))
            average += np.float32(share) * (w - average)
        if step * _CHECKS // steps > (step - 1) * _CHECKS // steps:
            ratios = _ratios(replace(model, weights=averaged), *judge)
            for flat in _SHARES[:-1]:
                saved = float(np.log2((1 - flat) * ratios + flat).mean())
                if saved > best[0]:
                    best = (saved, replace(model, weights=[w.copy() for w in averaged], share=flat))
    return best[1]


def _first_weights(n_inputs: int, rng: np.random.Generator) -> list[SingleArray]:
    """Random ones whose law of the score is close to the standard normal."""
    bias = np.concatenate([np.linspace(-0.3, 0.3, _KERNELS), np.linspace(-0.5, 0.3, _KERNELS), np.zeros(_KERNELS)])
    arrays = (
        rng.standard_normal((n_inputs, _UNITS)) / np.sqrt(n_inputs),
        np.zeros(_UNITS),
        rng.standard_normal((_UNITS, _UNITS)) / np.sqrt(_UNITS),
        np.zeros(_UNITS),
        0.05 * rng.standard_normal((_UNITS, bias.size)) / np.sqrt(_UNITS),
        bias,
    )
    return [np.asarray(array, dtype=np.float32) for array in arrays]


def _layers(weights: list[SingleArray], x: SingleArray) -> tuple[SingleArray, SingleArray, SingleArray]:
    """Both hidden layers and the outputs."""
    first = np.tanh(x @ weights[0] + weights[1])
    second = np.tanh(first @ weights[2] + weights[3])
    return first, second, second @ weights[4] + weights[5]


def _mixture(out: SingleArray, g: SingleArray) -> tuple[SingleArray, ...]:
    r"""Log of sum pi N(m, s^2)(g) sqrt(2 pi), posterior and weight of each kernel, (g - m)/s, 1/s."""
    mean, log_sd = out[:, :_KERNELS], np.clip(out[:, _KERNELS : 2 * _KERNELS], -_LARGEST_LOG_SD, _LARGEST_LOG_SD)
    logit = out[:, 2 * _KERNELS :]
    logit = logit - logit.max(axis=1, keepdims=True)
    logit = logit - np.log(np.exp(logit).sum(axis=1, keepdims=True))
    inverse = np.exp(-log_sd)
    z = (g[:, None] - mean) * inverse
    logs = logit - log_sd - np.float32(0.5) * z * z
    top = logs.max(axis=1, keepdims=True)
    parts = np.exp(logs - top)
    total = parts.sum(axis=1, keepdims=True)
    return (top + np.log(total))[:, 0], parts / total, np.exp(logit), z, inverse


def _gradients(weights: list[SingleArray], x: SingleArray, g: SingleArray) -> list[SingleArray]:
    """Of the mean of minus the log of the mixture, by back-propagation."""
    first, second, out = _layers(weights, x)
    _, posterior, prior, z, inverse = _mixture(out, g)
    at_out = np.concatenate([-posterior * z * inverse, posterior * (1 - z * z), prior - posterior], axis=1)
    at_out /= np.float32(g.size)
    at_second = (at_out @ weights[4].T) * (1 - second * second)
    at_first = (at_second @ weights[2].T) * (1 - first * first)
    return [
        x.T @ at_first,
        at_first.sum(axis=0),
        first.T @ at_second,
        at_second.sum(axis=0),
        second.T @ at_out,
        at_out.sum(axis=0),
    ]


def _saved_bits(model: _Regression, inputs: SingleArray, scores: SingleArray) -> FloatArray:
    """Mean saving of each patch, bits per pixel."""
    if model.share == 1.0:
        return np.zeros(len(scores))
    ratios = _ratios(model, inputs, scores)
    return np.asarray(np.log2((1 - model.share) * ratios + model.share).mean(axis=1))


def _ratios(model: _Regression, inputs: SingleArray, scores: SingleArray) -> FloatArray:
    """Density of each score under the regression over that of the standard normal, (n, p*p)."""
    ratios = np.empty(scores.shape)
    step = max(1, _CHUNK_PIXELS // scores.shape[1])
    for start in range(0, len(scores), step):
        part = slice(start, start + step)
        x, g = inputs[part].reshape(-1, inputs.shape[2]), scores[part].ravel()
        logs = _mixture(_layers(model.weights, (x - model.centre) * model.scale)[2], g)[0]
        # The constant of the normal law is in both.
        excess = np.minimum(logs.astype(np.float64) + 0.5 * g.astype(np.float64) ** 2, 60.0)
        ratios[part] = np.exp(excess).reshape(-1, scores.shape[1])
    return ratios
