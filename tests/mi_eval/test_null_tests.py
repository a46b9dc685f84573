"""Frames without information score 0: the study of null tests in small."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from script_files import load_script


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return load_script("study_null_tests")


def test_shuffling_keeps_every_code(study: ModuleType) -> None:
    plain, _ = study.null_frames("pure-noise", 20, 8, 1)
    shuffled, _ = study.null_frames("shuffled-noise", 20, 8, 1)
    np.testing.assert_array_equal(np.sort(plain, axis=None), np.sort(shuffled, axis=None))
    assert not np.array_equal(plain, shuffled)


@pytest.mark.parametrize("case", ["pure-noise", "shuffled-noise", "flats-with-maps"])
def test_no_information_is_found(study: ModuleType, case: str) -> None:
    """Two seeds: the value is 0 within its errors, and no interval reaches far above 0."""
    for seed in (0, 1):
        found = study.one(case, seed, patches=200, patch_size=8)
        assert abs(found["value"]) < 4 * found["std"] + 0.002
        assert found["low"] < 4 * found["std"]
        assert found["high"] < 0.04
