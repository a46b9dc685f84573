"""Digital twins: frames drawn from a fitted density through the camera, scored where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from calibrate.plumbing.progress import track
from mi_eval.estimate import information_estimate
from mi_eval.pixel_classes import classify_pixels
from mi_eval.score_parts import ScoreParts, parts_of
from mi_eval.twin_source import TwinSource

FloatArray = NDArray[np.float64]

# Probabilities of a pixel under a light that are computed for the truth (some 10 s), and fewest patches of each twin.
_JUDGING = 6e8
_FEWEST_JUDGED = 100


@dataclass(frozen=True)
class TwinReport:
    """What scores of twins were, against their truth. All in bits per pixel.

    Parameters
    ----------
    family : str
        The density that the twins' light was drawn from.
    true, true_std
        Their information by Monte Carlo, and its standard error.
    errors : ndarray (n_twins,)
        Score less truth.
    bias, bias_std
        Mean error and its standard error: where the probability of every patch was computed, against the mean of the
        very same patches, which takes their chance out.
    stds, inside : ndarray (n_twins,)
        Stated standard error; whether the 95 % interval holds the truth.
    half_training_excess, measured_excess, measured_excess_std
        Mean finite-sample excess that the scores took off, and the mean of held-out code length less -log2 p(z) of the
        same patches: the parametric bootstrap of the excess.
    """

    family: str
    true: float
    true_std: float
    errors: FloatArray
    bias: float
    bias_std: float
    stds: FloatArray
    inside: NDArray[np.bool_]
    half_training_excess: float
    measured_excess: float
    measured_excess_std: float

    def to_dict(self) -> dict[str, Any]:
        """The block ``twins`` of score.json."""
        n = self.errors.size
        return {
            "family": self.family,
            "twins": n,
            "true_bits_per_pixel": {"value": self.true, "std": self.true_std},
            "bias_bits_per_pixel": {"value": self.bias, "std": self.bias_std},
            "error_spread_bits_per_pixel": float(self.errors.std(ddof=1)),
            "stated_std_bits_per_pixel": float(self.stds.mean()),
            "intervals_that_hold_the_truth": int(self.inside.sum()),
            "excess_bits_per_pixel": {
                "half_training": self.half_training_excess,
                "measured": self.measured_excess,
                "measured_std": self.measured_excess_std,
            },
        }


def score_twins(parts: ScoreParts, n_twins: int) -> TwinReport:
    r"""Draw twins of scored frames, score each, and compare with their truth.

    The family with the shortest held-out codes (the scale mixture in place of the recalibrated Gaussian, and the best
    closed form in place of a network) says what light to expect at a pixel after the earlier measurements of its patch:
    a normal law, from whose variance the noise is taken, an independent draw from the deconvolved law, or a template.
    The light is drawn on a grid a quarter of the noise apart, and the camera makes the code of it. So
    :math:`p(z_i \mid z_{<i}) = \sum_k w_k(z_{<i})\,p(z_i \mid y_k)` is exact, and the truth is

    .. math:: T = \tfrac1D\,E\Big[-\log_2 p(z) + \sum_i \log_2 p(z_i \mid y_i)\Big]

    by Monte Carlo: the entropy of the codes less that of the noise, which is what a score estimates. There are as many
    frames and patches as in the score, and the patches of a frame are independent. The camera is the noise model's
    without maps and without error, so that the intervals hold sampling and slack alone.

    Raises
    ------
    PhotonbitsError
        For fewer than 2 twins, mosaics, and cameras without a table of codes (light so bright, or a real-valued
        measurement with shot noise).
    """
    if n_twins < 2:
        raise PhotonbitsError(f"{n_twins} twins", legal="2 or more")
    source = TwinSource.of(parts.data.patches, parts.heldout, parts.model, parts.noise.law, parts.seed)
    classes = classify_pixels(source.model, parts.source.shape)
    pixels = parts.patch_size**2
    errors, stds, spans = np.empty(n_twins), np.empty(n_twins), np.empty((n_twins, 2))
    truths: list[FloatArray] = []
    growth, excess = np.empty(n_twins), np.empty(n_twins)
    n_patches = parts.data.patches.n_patches
    wanted = int(_JUDGING / (n_twins * pixels * source.n_terms))
    n_judged = min(n_patches, max(wanted, _FEWEST_JUDGED))
    for number in track(range(n_twins), "Scoring twins", total=n_twins):
        rng = np.random.default_rng([parts.seed, 31, number])
        codes, rows = source.draw(n_patches, rng)
        judged = np.sort(rng.permutation(n_patches)[:n_judged])
        surprise = source.surprise_bits(codes[judged])
        truths.append((surprise + source.log2_noise(codes[judged], rows[judged])) / pixels)
        data = replace(parts.data, patches=source.patches(codes, parts.data.patches))
        scored = parts_of(parts.source, source.model, data, classes, parts.seed, "closed-form")
        found = information_estimate(scored).mutual_information_bits_per_pixel
        errors[number], stds[number], spans[number] = found.value, found.std, found.ci95
        growth[number] = scored.heldout.half_training_excess_bits / pixels
        excess[number] = float(np.mean(scored.heldout.full_bits[judged] - surprise)) / pixels
    every = np.concatenate(truths)
    true, true_std = float(every.mean()), float(every.std(ddof=1) / np.sqrt(every.size))
    if n_judged == n_patches:
        paired = errors - np.array([own.mean() for own in truths])
        bias, bias_std = float(paired.mean()), float(paired.std(ddof=1) / np.sqrt(n_twins))
    else:
        bias = float(errors.mean()) - true
        bias_std = float(np.hypot(errors.std(ddof=1) / np.sqrt(n_twins), true_std))
    return TwinReport(
        family=source.family,
        true=true,
        true_std=true_std,
        errors=errors - true,
        bias=bias,
        bias_std=bias_std,
        stds=stds,
        inside=(spans[:, 0] <= true) & (true <= spans[:, 1]),
        half_training_excess=float(growth.mean()),
        measured_excess=float(excess.mean()),
        measured_excess_std=float(excess.std(ddof=1) / np.sqrt(n_twins)),
    )
