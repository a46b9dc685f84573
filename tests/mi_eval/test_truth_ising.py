"""Ising images: transfer matrices against written-out sums, draws against exact shares, information against both."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.truth import make_source
from mi_eval.truth.independent import IndependentPixels
from mi_eval.truth.ising import IsingImages
from mi_eval.truth.ising_lattice import draw_images, entropy_bits, log_partition, mean_alignment
from mi_eval.truth.laws import LevelsLight


def all_spins(size: int) -> NDArray[np.int64]:
    """Every image of spins, (2^(size^2), size, size)."""
    return np.array(list(product((-1, 1), repeat=size**2))).reshape(-1, size, size)


def alignment(spin: NDArray[np.int64]) -> NDArray[np.int64]:
    return (spin[:, 1:] * spin[:, :-1]).sum(axis=(1, 2)) + (spin[:, :, 1:] * spin[:, :, :-1]).sum(axis=(1, 2))


def enumerated_log_partition(ratio: NDArray[np.float64], coupling: float) -> float:
    spin = all_spins(len(ratio))
    nats = coupling * alignment(spin) + np.minimum(spin * ratio, 0.0).sum(axis=(1, 2))
    return float(np.logaddexp.reduce(nats))


def dense_log_partition(ratio: NDArray[np.float64], coupling: float) -> float:
    """Transfer matrix written out, state by state; for lattices too large to enumerate."""
    size = len(ratio)
    states = np.array(list(product((-1, 1), repeat=size)))
    bonds = coupling * (states[:, 1:] * states[:, :-1]).sum(axis=1)
    between = np.exp(coupling * states @ states.T)
    total = None
    for row in ratio:
        own = np.exp(bonds + np.minimum(states * row, 0.0).sum(axis=1))
        total = own if total is None else own * (between @ total)
    return float(np.log(np.sum(total)))


@pytest.mark.parametrize("coupling", [-0.3, 0.0, 0.4, 1.5])
@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
def test_log_partition(size: int, coupling: float) -> None:
    ratio = 3.0 * np.random.default_rng(size).standard_normal((3, size, size))
    slow = enumerated_log_partition if size <= 4 else dense_log_partition
    assert log_partition(ratio, coupling) == pytest.approx([slow(image, coupling) for image in ratio], abs=1e-10)


def test_contradicting_codes_are_no_problem() -> None:
    """Pixels that rule out one level altogether, against a strong coupling."""
    ratio = np.full((1, 3, 3), 2000.0)
    ratio[0, 1, 1] = -2000.0
    assert log_partition(ratio, 0.4)[0] == pytest.approx(enumerated_log_partition(ratio[0], 0.4), abs=1e-9)


@pytest.mark.parametrize("coupling", [0.0, 0.25, 0.6])
def test_entropy_and_alignment(coupling: float) -> None:
    for size in (2, 3):
        spin = all_spins(size)
        p = np.exp(coupling * alignment(spin))
        p /= p.sum()
        assert mean_alignment(size, coupling) == pytest.approx(float(p @ alignment(spin)), abs=1e-8)
        assert entropy_bits(size, coupling) == pytest.approx(float(-(p @ np.log2(p))), abs=1e-8)


def test_draws_have_the_exact_shares() -> None:
    """Chi-square of 40,000 images of 2 x 2 pixels, 15 degrees of freedom, and the alignment of larger ones."""
    coupling, n = 0.4, 40_000
    images = draw_images(n, 2, coupling, np.random.default_rng(1))
    counts = np.bincount(images.reshape(n, 4) @ (8, 4, 2, 1), minlength=16)
    p = np.exp(coupling * alignment(all_spins(2)))
    chi2 = float(np.sum((counts - n * p / p.sum()) ** 2 / (n * p / p.sum())))
    assert 3 < chi2 < 38  # 99.9 % range
    for size in (5, 9):
        spin = np.where(draw_images(4000, size, coupling, np.random.default_rng(2)), 1, -1)
        found = alignment(spin)
        std = found.std() / np.sqrt(4000)
        assert abs(found.mean() - mean_alignment(size, coupling)) < 4 * std
        assert abs(spin.mean()) < 4 * np.sqrt(spin.mean(axis=(1, 2)).var() / 4000)


def camera(bit_depth: int = 12, read_noise_e: float = 1.5, gain: float = 0.5, offset: float = 100.0) -> NoiseModel:
    return NoiseModel.from_parameters(
        system_gain_dn_per_e=gain, read_noise_e=read_noise_e, offset_dn=offset, bit_depth=bit_depth
    )


def ising(coupling: float, model: NoiseModel, draws: int = 1000) -> IsingImages:
    return IsingImages("test", "a source", model, 2.0, 14.0, coupling, draws)


def enumerated_information(source: IsingImages, size: int) -> float:
    """Bits per pixel for a camera of two codes: all images and all codes written out."""
    spin = all_spins(size)
    prior = np.exp(source.coupling * alignment(spin))
    prior /= prior.sum()
    pmf = np.exp(source.noise_model.log_pmf(np.array([0, 1])[:, None], np.array([source.low_e, source.high_e])))
    codes, states = ((spin.reshape(len(spin), -1) + 1) // 2 for _ in range(2))
    channel = np.ones((len(codes), len(states)))
    for pixel in range(size**2):
        channel *= pmf[codes[:, pixel][:, None], states[:, pixel][None, :]]
    mass = channel @ prior
    given = -np.sum(channel * np.log2(channel), axis=0) @ prior
    return float(-(mass @ np.log2(mass)) - given) / size**2


def test_information_against_enumeration_with_honest_errors() -> None:
    """3 x 3 pixels of one bit: 512 images and 512 codes; pulls over 16 couplings have root mean square 1."""
    model = camera(bit_depth=1, gain=0.1, offset=-0.2)
    pulls = []
    for coupling in np.linspace(0.05, 0.9, 16):
        source = ising(float(coupling), model, draws=250)
        found = source.information_bits(3)
        assert found.std < 0.02
        pulls.append((found.value - enumerated_information(source, 3)) / found.std)
    assert max(map(abs, pulls)) < 4
    # The draws share a seed, so pulls of neighbouring couplings are correlated: a wide band.
    assert 0.3 < np.sqrt(np.mean(np.square(pulls))) < 1.8


def test_surprise_sums_to_one() -> None:
    source = ising(0.4, camera(bit_depth=1, gain=0.1, offset=-0.2))
    codes = (all_spins(3) + 1) // 2
    assert np.sum(2.0 ** -source.surprise_bits(codes)) == pytest.approx(1.0, abs=1e-10)


def test_information_at_the_limits() -> None:
    # Without coupling: single pixels.
    pixel = IndependentPixels("test", "a source", camera(), LevelsLight((2.0, 14.0), (0.5, 0.5))).information_bits(2)
    free = ising(0.0, camera()).information_bits(4)
    assert abs(free.value - pixel.value) < 4 * free.std + 1e-9
    # Without noise worth the name: the entropy of the images.
    clear = IsingImages("test", "a source", camera(), 10.0, 2000.0, 0.4, 200).information_bits(5)
    assert clear.value == pytest.approx(entropy_bits(5, 0.4) / 25, abs=1e-6)
    # All noise: nothing.
    drowned = ising(0.4, camera(read_noise_e=2000.0, bit_depth=15, offset=16384.0), 200).information_bits(4)
    assert abs(drowned.value) < 1e-4
    # Rigid coupling: the whole patch is one pixel of two levels, seen 16 times.
    rigid = IsingImages("test", "a source", camera(), 2.0, 40.0, 12.0, 400).information_bits(4)
    assert rigid.value == pytest.approx(1 / 16, abs=1e-6)


def test_information_falls_with_patch_size() -> None:
    """Neighbours share information: fewer bits a pixel in larger patches, by more than the errors."""
    small, large = (make_source("ising").information_bits(size) for size in (2, 8))
    assert small.value - large.value > 10 * np.hypot(small.std, large.std)
    assert small.value == pytest.approx(0.794, abs=0.01)
