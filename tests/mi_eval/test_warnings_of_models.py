"""Doubts of a noise model reach whoever reads the score only."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from calibrate import NoiseModel
from calibrate.schema import FlagEntry
from mi_eval.doubts import doubts_of


@pytest.mark.parametrize("code", ["denoised", "over_dispersed", "correlated_noise"])
def test_a_flag_of_the_model_is_a_warning_of_the_score(code):
    plain = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=3.0, offset_dn=64.0, bit_depth=12)
    fit = plain.document.fit.model_copy(update={"flags": (FlagEntry(code=code, message="as fitted"),)})
    flagged = replace(plain, document=plain.document.model_copy(update={"fit": fit}))
    patches = SimpleNamespace(n_patches=1000, codes=np.full(1000, 500))
    data = SimpleNamespace(n_frames=100, n_scenes=None, patches=patches, saturated_fraction=0.0)
    noise = SimpleNamespace(law=None, identifiable=True, correlation_bits=0.0)
    before, after = (
        {entry.code for entry in doubts_of(data, model, noise, (0.1, 0.2), 0.0, 256, None)}
        for model in (plain, flagged)
    )
    assert code in after and code not in before
