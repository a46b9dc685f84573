"""The cases of `mi-eval truth`: names, one line each, and how they are built. Imports nothing heavy by itself."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calibrate.plumbing.errors import PhotonbitsError

if TYPE_CHECKING:
    from calibrate import NoiseModel
    from mi_eval.truth.source import Source


@dataclass(frozen=True)
class Case:
    """A named source with its one-line description; ``build(name, description)`` makes it."""

    description: str
    build: Callable[[str, str], Source]


def make_source(name: str) -> Source:
    """Build the source of one case.

    Raises
    ------
    PhotonbitsError
        For an unknown name.
    """
    if name not in CASES:
        close = difflib.get_close_matches(name, CASES, n=1)
        raise PhotonbitsError(
            f"unknown case {name!r}",
            legal=", ".join(CASES),
            remedy=f"Did you mean {close[0]}?" if close else None,
        )
    case = CASES[name]
    return case.build(name, case.description)


def _camera(**changes: Any) -> NoiseModel:
    """12 bit, K = 0.5 DN/e-, 1.5 e- of read noise, unless changed."""
    from calibrate import NoiseModel

    given = {"system_gain_dn_per_e": 0.5, "read_noise_e": 1.5, "offset_dn": 100.0, "bit_depth": 12}
    return NoiseModel.from_parameters(**{**given, **changes})


def _gaussian_camera(gain_dn_per_e: float, read_noise_e: float, bit_depth: int | None, offset_dn: float) -> NoiseModel:
    return _camera(
        kind="gaussian",
        system_gain_dn_per_e=gain_dn_per_e,
        read_noise_e=read_noise_e,
        bit_depth=bit_depth,
        offset_dn=offset_dn,
    )


def _gaussian_field(
    length_px: float, exponent: float, gain_dn_per_e: float = 1.0, bit_depth: int | None = None
) -> Callable[[str, str], Source]:
    """Fields of 200 +- 60 electrons under 5 electrons of Gaussian noise."""

    def build(name: str, description: str) -> Source:
        from mi_eval.truth.fields import Correlation
        from mi_eval.truth.gaussian_field import GaussianField

        offset = 0.0 if bit_depth is None else 1000.0
        camera = _gaussian_camera(gain_dn_per_e, 5.0, bit_depth, offset)
        return GaussianField(name, description, camera, Correlation(length_px, exponent), mean_e=200.0, sd_e=60.0)

    return build


def _scale_mixture(name: str, description: str) -> Source:
    from mi_eval.truth.fields import Correlation
    from mi_eval.truth.scale_mixture import ScaleMixtureField

    camera = _gaussian_camera(2.0, 5.0, 16, 20000.0)
    return ScaleMixtureField(name, description, camera, Correlation(4.0), mean_e=0.0, sd_e=60.0, log_sd=1.0)


def _gamma(shape: float, mean_e: float, **changes: Any) -> Callable[[str, str], Source]:
    def build(name: str, description: str) -> Source:
        from mi_eval.truth.independent import IndependentPixels
        from mi_eval.truth.laws import GammaLight

        return IndependentPixels(name, description, _camera(**changes), GammaLight(shape, mean_e))

    return build


def _photons(mean_e: float) -> Callable[[str, str], Source]:
    return _gamma(4.0, mean_e, kind="poisson", system_gain_dn_per_e=1.0, read_noise_e=0.0, offset_dn=0.0)


def _sparse(name: str, description: str) -> Source:
    from mi_eval.truth.independent import IndependentPixels
    from mi_eval.truth.laws import SparseLight

    return IndependentPixels(name, description, _camera(), SparseLight(dark_share=0.8, bright_mean_e=50.0))


def _two_level(name: str, description: str) -> Source:
    from mi_eval.truth.independent import IndependentPixels
    from mi_eval.truth.laws import LevelsLight

    return IndependentPixels(name, description, _camera(), LevelsLight((5.0, 20.0), (0.7, 0.3)))


def _shuffled(name: str, description: str) -> Source:
    from mi_eval.truth.fields import Correlation
    from mi_eval.truth.independent import IndependentPixels, ShuffledScene
    from mi_eval.truth.laws import GammaLight

    pixels = IndependentPixels(name, description, _camera(), GammaLight(4.0, 40.0))
    return ShuffledScene(pixels, Correlation(2.0))


def _templates(mean_e: float) -> Callable[[str, str], Source]:
    def build(name: str, description: str) -> Source:
        from mi_eval.truth.fields import Correlation
        from mi_eval.truth.templates import Templates

        return Templates(name, description, _camera(), mean_e, Correlation(3.0, 2.0))

    return build


def _ising(low_e: float, high_e: float) -> Callable[[str, str], Source]:
    def build(name: str, description: str) -> Source:
        from mi_eval.truth.ising import IsingImages

        return IsingImages(name, description, _camera(), low_e=low_e, high_e=high_e, coupling=0.4)

    return build


def _lamp(name: str, description: str) -> Source:
    from mi_eval.truth.lamp import DriftingLamp
    from mi_eval.truth.laws import GammaLight

    return DriftingLamp(name, description, _camera(), GammaLight(25.0, 200.0))


def _pure_noise(name: str, description: str) -> Source:
    from mi_eval.truth.constant import ConstantLight

    return ConstantLight(name, description, _camera(), light_e=20.0)


def _flats(name: str, description: str) -> Source:
    """A sensor of 64 x 64 pixels, the same in every run; frames of its size."""
    import numpy as np

    from mi_eval.truth.constant import ConstantLight

    rng = np.random.default_rng(7)
    shape = (64, 64)
    maps = {
        "offset_dn": 100.0 + 3.0 * rng.standard_normal(shape),
        "prnu": 0.02 * rng.standard_normal(shape),
        "read_noise_e": 1.5 * np.exp(0.2 * rng.standard_normal(shape)),
    }
    return ConstantLight(name, description, _camera(maps=maps), light_e=200.0)


#: In the order in which they run: name, then what it is.
CASES: dict[str, Case] = {
    "gaussian-field": Case("rough Gaussian field, Gaussian noise, real values", _gaussian_field(4.0, 1.0)),
    "gaussian-field-unit": Case("the same in units of 1/1000", _gaussian_field(4.0, 1.0, gain_dn_per_e=1e-3)),
    "gaussian-field-codes": Case("the same in integer codes, noise 4 DN", _gaussian_field(4.0, 1.0, 0.8, 12)),
    "gaussian-smooth": Case("smooth Gaussian field (blurred), integer codes", _gaussian_field(3.0, 2.0, 0.8, 12)),
    "gamma-20e": Case("independent pixels, gamma law, 20 e-, 12 bit", _gamma(4.0, 20.0)),
    "gamma-200e": Case("independent pixels, gamma law, 200 e-, 12 bit", _gamma(4.0, 200.0)),
    "gamma-clipped": Case(
        "the same, 8 bit, 5 % of the pixels clipped", _gamma(4.0, 200.0, bit_depth=8, offset_dn=60.0)
    ),
    "photons-2": Case("independent pixels counted without read noise, 2 photons", _photons(2.0)),
    "photons-10": Case("independent pixels counted without read noise, 10 photons", _photons(10.0)),
    "photons-100": Case("independent pixels counted without read noise, 100 photons", _photons(100.0)),
    "sparse": Case("independent pixels, 80 % dark, the rest exponential, 50 e-", _sparse),
    "two-level": Case("independent pixels, 5 or 20 e-", _two_level),
    "shuffled-scene": Case("correlated scenes whose pixels are shuffled over all patches", _shuffled),
    "templates-64": Case("one of 64 patterns, 50 e-", _templates(50.0)),
    "templates-64-dim": Case("one of 64 patterns, 0.5 e-: hard to tell apart", _templates(0.5)),
    "ising": Case("two-level images with coupled neighbours, 2 or 14 e-", _ising(2.0, 14.0)),
    "ising-dim": Case("two-level images with coupled neighbours, 1 or 5 e-", _ising(1.0, 5.0)),
    "scale-mixture": Case("Gaussian fields, contrast log-normal from patch to patch, codes", _scale_mixture),
    "drifting-lamp": Case("even light whose level changes by 20 % from patch to patch", _lamp),
    "pure-noise": Case("constant light of 20 e-: no information", _pure_noise),
    "flats-with-maps": Case("flats with fixed pattern, given the maps: no information", _flats),
}
