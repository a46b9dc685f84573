"""The finite-sample excess by parametric bootstrap, where the true excess is known, and where it is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mi_eval.bootstrap_excess import FEW_PIXELS, bootstrap_excess, with_best_excess
from mi_eval.estimate import estimate_information
from mi_eval.score_parts import ScoreParts
from mi_eval.truth import make_source
from mi_eval.truth.measure import draw_sample


def scored(case: str, patches: int, seed: int = 0) -> tuple[ScoreParts, float]:
    """Parts of a score, and the true excess of its codes, bits per pixel."""
    source = make_source(case)
    frames, _ = draw_sample(source, patches=patches, patch_size=8, seed=seed)
    kept: list[ScoreParts] = []
    estimate_information(frames, source.noise_model, patch_size=8, density="closed-form", keep=kept.append)
    parts = kept[0]
    true = parts.heldout.full_bits - source.surprise_bits(np.asarray(frames))
    return parts, float(np.mean(true)) / 64


def test_templates_seen_a_few_times() -> None:
    """Half of 600 frames do not teach 64 templates, so their growth is seven times the excess; twins find it."""
    parts, true = scored("templates-64", 600)
    assert parts.heldout.excess_method == "bootstrap"
    assert float(parts.share @ parts.excess_bits) == pytest.approx(true, abs=0.012)
    assert parts.heldout.half_training_excess_bits / 64 > 3 * true


def test_few_patches_of_independent_pixels() -> None:
    """60 patches: the histogram's true excess, on average over seeds, within the stated errors."""
    errors, stds, halves = [], [], []
    for seed in range(6):
        parts, true = scored("gamma-200e", 60, seed)
        errors.append(float(parts.share @ parts.excess_bits) - true)
        stds.append(parts.heldout.excess_std_bits)
        halves.append(parts.heldout.half_training_excess_bits / 64 - true)
    chance = np.std(errors, ddof=1) / np.sqrt(len(errors))
    assert abs(np.mean(errors)) < 3 * chance + 0.003
    assert abs(np.mean(errors)) < abs(np.mean(halves))
    assert 0 < np.mean(stds) < 0.01


def test_many_patches_keep_half_training_and_so_do_networks_and_what_cannot_be_drawn() -> None:
    parts, _ = scored("gaussian-field-codes", 120)
    given = replace(parts.heldout, excess_method="half-training", half_training_excess_bits=0.0)
    rest = (parts.model, parts.noise.law, parts.seed)
    patches = parts.data.patches
    assert patches.codes.size < FEW_PIXELS
    assert with_best_excess(patches, given, *rest).excess_method == "bootstrap"
    many = patches.take(np.tile(np.arange(patches.n_patches), 9))
    assert many.codes.size >= FEW_PIXELS
    assert with_best_excess(many, given, *rest) is given
    network = replace(given, names=(*given.names[:-1], "causal_network"), weights=np.eye(len(given.names))[-1])
    assert with_best_excess(patches, network, *rest) is network
    mosaic = replace(patches, place_class=np.zeros((8, 8), dtype=np.int64))
    assert with_best_excess(mosaic, given, *rest) is given


def test_same_seed_same_excess() -> None:
    parts, _ = scored("gaussian-field-codes", 120)
    rest = (parts.data.patches, parts.heldout, parts.model, parts.noise.law)
    assert bootstrap_excess(*rest, 3) == bootstrap_excess(*rest, 3)
    assert bootstrap_excess(*rest, 3).bits != bootstrap_excess(*rest, 4).bits
