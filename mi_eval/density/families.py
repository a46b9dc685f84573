"""The families of densities: the closed-form ones that every score runs, and the networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from mi_eval.density.basis import gaussian_basis
from mi_eval.density.by_channel import ChannelHistograms, ChannelScale, FittedInScale
from mi_eval.density.full_gaussian import FullGaussian
from mi_eval.density.gaussian import FittedGaussian, StationaryGaussian
from mi_eval.density.histogram import CodeHistogram
from mi_eval.density.interface import DensityFamily, FittedDensity, NetworkFamily
from mi_eval.density.patches import PatchSet
from mi_eval.density.recalibrated import RecalibratedGaussian
from mi_eval.density.scale_mixture import FittedScaleMixture, ScaleMixture
from mi_eval.density.template_mixture import TemplateMixture

#: Families whose means belong to places in a patch.
_BY_PLACE = (FullGaussian, TemplateMixture)


def closed_form_families() -> tuple[DensityFamily, ...]:
    """One declaration of each closed-form family, cheapest first."""
    return (
        CodeHistogram(),
        StationaryGaussian(),
        FullGaussian(),
        TemplateMixture(),
        ScaleMixture(),
        RecalibratedGaussian(),
    )


def fit_closed_form(train: PatchSet, validation: PatchSet, seed: int) -> Iterator[FittedDensity]:
    """Fit each of `closed_form_families` in turn, on mosaics with what channels need.

    Families whose parameters belong to places see a mosaic as it is. To the others every channel is brought to one
    scale (`ChannelScale`), and a histogram for each channel stands beside them.
    """
    families = closed_form_families()
    if train.place_class is None:
        yield from _fit_each(families, train, validation, seed)
        return
    yield ChannelHistograms().fit(train, validation, seed)
    yield from _fit_each([f for f in families if isinstance(f, _BY_PLACE)], train, validation, seed)
    scale = ChannelScale.of(train)
    others = [f for f in families if not isinstance(f, _BY_PLACE)]
    for fitted in _fit_each(others, scale.apply(train), scale.apply(validation), seed):
        yield FittedInScale(fitted.name, fitted.patch_size, fitted, scale)


def _fit_each(
    families: Sequence[DensityFamily], train: PatchSet, validation: PatchSet, seed: int
) -> Iterator[FittedDensity]:
    """The families in turn; what several of them stand on is learnt once."""
    basis = gaussian_basis(train, validation)
    full: FittedGaussian | None = None
    scales: FittedScaleMixture | None = None
    for family in families:
        if isinstance(family, CodeHistogram):
            yield family.fit(train, validation, seed, histogram=basis.histogram)
        elif isinstance(family, StationaryGaussian):
            yield family.fit(train, validation, seed, basis=basis)
        elif isinstance(family, FullGaussian):
            full = family.fit(train, validation, seed, basis=basis)
            yield full
        elif isinstance(family, TemplateMixture):
            yield family.fit(train, validation, seed, base=full)
        elif isinstance(family, ScaleMixture):
            scales = family.fit(train, validation, seed, basis=basis)
            yield scales
        elif isinstance(family, RecalibratedGaussian):
            yield family.fit(train, validation, seed, base=scales)
        else:
            yield family.fit(train, validation, seed)


def network_families(*, reference: bool = False) -> tuple[NetworkFamily, ...]:
    """The causal network, and with ``reference`` the gated PixelCNN; nothing where torch is not installed."""
    if find_spec("torch") is None:
        return ()
    from mi_eval.density.network.causal import CausalNetwork

    if not reference:
        return (CausalNetwork(),)
    from mi_eval.density.network.gated_pixelcnn import GatedPixelCNN

    return (CausalNetwork(), GatedPixelCNN())
