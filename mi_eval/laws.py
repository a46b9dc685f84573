"""Colour filters and taps see different light: H(Z|Y) under a law of charge for each, put together by pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mi_eval.histograms import FrameHistograms
from mi_eval.intensity import IntensityLaw
from mi_eval.pixel_classes import PixelClasses

if TYPE_CHECKING:
    from mi_eval.conditional_entropy import ConditionalEntropy

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def laws_of(classes: PixelClasses) -> IntArray:
    """Numbers of the laws, one for all classes where nothing else is said."""
    return np.zeros(1, dtype=np.int64) if classes.law is None else np.unique(classes.law)


def of_one_law(
    histograms: FrameHistograms, classes: PixelClasses, law: int
) -> tuple[FrameHistograms, PixelClasses, IntArray]:
    """Histograms and classes of the pixels of one law, and the numbers of those classes."""
    member = np.flatnonzero(np.asarray(classes.law) == law)
    columns = (member[:, None] * histograms.n_codes + np.arange(histograms.n_codes)).ravel()
    counts = sparse.csr_array(sparse.csc_array(histograms.counts)[:, columns])
    fit_class = np.unique(classes.fit_class[member], return_inverse=True)[1].ravel()
    own = replace(
        classes,
        models=tuple(classes.models[number] for number in member),
        fit_class=np.asarray(fit_class, dtype=np.int64),
        law=None,
    )
    return replace(histograms, counts=counts), own, member


def entropy_by_law(
    histograms: FrameHistograms,
    classes: PixelClasses,
    entropy: Callable[[FrameHistograms, PixelClasses], ConditionalEntropy],
) -> ConditionalEntropy:
    r"""H(Z|Y) of all pixels from that of each law, weighted with the shares of their pixels.

    .. math:: H(Z|Y) = \sum_g \pi_g \sum_c \pi_{c|g} \sum_j w_{gj} h_c(y_j)

    Values, intervals and sensitivities are weighted sums; ``parts`` keeps (law, share, result).
    """
    total = float(histograms.by_class.sum())
    parts: list[tuple[int, float, ConditionalEntropy]] = []
    influence = np.zeros((len(classes.models), histograms.n_codes))
    for law in laws_of(classes):
        counted, own, member = of_one_law(histograms, classes, int(law))
        seen = float(counted.by_class.sum())
        if seen == 0:
            continue
        found = entropy(counted, own)
        parts.append((int(law), seen / total, found))
        influence[member] = found.influence_bits
    shares = np.array([share for _, share, _ in parts])
    results = [found for _, _, found in parts]

    def mean(values: list[float]) -> float:
        return float(shares @ np.array(values))

    names = results[0].parameter_sensitivity_bits
    return replace(
        results[0],
        value_bits=mean([r.value_bits for r in results]),
        interval_bits=(mean([r.interval_bits[0] for r in results]), mean([r.interval_bits[1] for r in results])),
        identifiable=all(r.identifiable for r in results),
        law=_mixture([r.law for r in results], shares),
        influence_bits=influence,
        parameter_sensitivity_bits={n: mean([r.parameter_sensitivity_bits[n] for r in results]) for n in names},
        sampling_std_bits=float(np.sqrt(np.sum((shares * np.array([r.sampling_std_bits for r in results])) ** 2))),
        widening=max(r.widening for r in results),
        parts=tuple(parts),
    )


def _mixture(laws: list[IntensityLaw | None], shares: FloatArray) -> IntensityLaw | None:
    """The law of a pixel drawn from all; deviances and occupied codes add up."""
    known = [law for law in laws if law is not None]
    if len(known) < len(laws):
        return None
    y = np.concatenate([law.y_e for law in known])
    w = np.concatenate([share * law.weights for share, law in zip(shares, known, strict=True)])
    order = np.argsort(y, kind="stable")
    return IntensityLaw(
        y_e=y[order],
        weights=w[order],
        certified_gap_nats=sum(law.certified_gap_nats for law in known),
        iterations=max(law.iterations for law in known),
        deviance=sum(law.deviance for law in known),
        n_occupied=sum(law.n_occupied for law in known),
    )
