"""Finite-sample excess by parametric bootstrap: what the same fits cost where the law is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.code_lengths import HeldOut
from mi_eval.density import PatchSet
from mi_eval.fit_spread import spread_of_fits
from mi_eval.heldout import heldout_code_lengths
from mi_eval.intensity import IntensityLaw
from mi_eval.twin_source import TwinSource

#: The bootstrap is made of fewer pixels in patches than this, and where half training finds more than this excess (bits
#: per pixel): elsewhere the excess is a few thousandths of a bit, whoever finds it.
FEW_PIXELS = 65_536
LARGE_EXCESS_BITS = 0.01
# So many pixels in all twins together, and most twins: one draw of few patches says little.
_TWIN_PIXELS = 16_384
_MOST_TWINS = 4
# Networks are not fitted to twins; with this weight in the mixture the excess is mostly theirs.
_MOST_NETWORK_WEIGHT = 0.5
_NETWORKS = ("causal_network", "gated_pixelcnn")
# Probabilities of a pixel under a light that are computed (some 3 s), and fewest patches.
_JUDGING = 2e8
_FEWEST_JUDGED = 100


@dataclass(frozen=True)
class BootstrapExcess:
    """Mean excess of held-out codes and its standard error, bits per pixel, and the family that was drawn from."""

    bits: float
    std_bits: float
    family: str


def bootstrap_excess(
    patches: PatchSet, heldout: HeldOut, model: NoiseModel, law: IntensityLaw | None, seed: int
) -> BootstrapExcess:
    r"""Draw as many patches from a fitted density, code them in the same folds, and compare with their probabilities.

    Of few patches there are up to four such twins.

    .. math:: \mathrm{excess} = \tfrac1D\,\overline{L(z^*) + \log_2 p(z^*)}, \qquad z^* \sim p

    The standard error is that of the mean over the patches and of the chance of the fits.

    Raises
    ------
    PhotonbitsError
        Where no twin can be drawn; see `TwinSource.of`.
    """
    source = TwinSource.of(patches, heldout, model, law, seed)
    n_twins = int(np.clip(round(_TWIN_PIXELS / patches.codes.size), 1, _MOST_TWINS))
    means, variances = np.empty(n_twins), np.empty(n_twins)
    for number in range(n_twins):
        rng = np.random.default_rng([seed, 32, number])
        codes, _ = source.draw(patches.n_patches, rng)
        wanted = max(int(_JUDGING / (n_twins * patches.n_pixels * source.n_terms)), _FEWEST_JUDGED)
        judged = np.sort(rng.permutation(patches.n_patches)[:wanted])
        coded = heldout_code_lengths(source.patches(codes, patches), seed, "closed-form")
        excess = (coded.full_bits[judged] - source.surprise_bits(codes[judged])) / patches.n_pixels
        fits = spread_of_fits(coded.folds, patches.n_pixels).std_bits
        means[number], variances[number] = excess.mean(), excess.var(ddof=1) / excess.size + fits**2
    return BootstrapExcess(float(means.mean()), float(np.sqrt(variances.sum())) / n_twins, source.family)


def with_best_excess(
    patches: PatchSet, heldout: HeldOut, model: NoiseModel, law: IntensityLaw | None, seed: int
) -> HeldOut:
    """`heldout` with the bootstrap's excess where patches are few or the excess is large, and twins can be drawn."""
    networks = sum(w for name, w in zip(heldout.names, heldout.weights, strict=True) if name in _NETWORKS)
    few = patches.codes.size < FEW_PIXELS
    large = heldout.half_training_excess_bits / patches.n_pixels > LARGE_EXCESS_BITS
    if not (few or large) or networks > _MOST_NETWORK_WEIGHT:
        return heldout
    try:
        found = bootstrap_excess(patches, heldout, model, law, seed)
    except PhotonbitsError:
        return heldout
    return replace(
        heldout,
        excess_bits=np.full(patches.n_patches, found.bits * patches.n_pixels),
        excess_method="bootstrap",
        excess_std_bits=found.std_bits,
    )
