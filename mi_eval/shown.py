"""The arrays behind a score that its report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel
from mi_eval.conditional_entropy import ConditionalEntropy
from mi_eval.measurements import Measurements
from mi_eval.result import LearningPoint
from mi_eval.score_details import ScoreDetails
from mi_eval.score_parts import ScoreParts

FloatArray = NDArray[np.float64]


def _code_histogram(
    data: Measurements, model: NoiseModel, noise: ConditionalEntropy
) -> tuple[FloatArray, FloatArray, FloatArray] | tuple[None, None, None]:
    """Codes, their counts, and their probabilities under law and noise model; for cameras without maps."""
    if model.maps or model.channel_layout or noise.law is None or model.bit_depth is None:
        return None, None, None
    first = int(data.patches.codes.min())
    counts = np.bincount((data.patches.codes.astype(np.int64) - first).ravel()).astype(np.float64)
    some = noise.law.weights > 1e-9
    table = model.code_table(noise.law.y_e[some])
    column = first - table.first_code + np.arange(counts.size)
    predicted = np.asarray(noise.law.weights[some] @ table.pmf).ravel()[column]
    return first + np.arange(counts.size, dtype=np.float64), counts, predicted


def score_details(parts: ScoreParts) -> ScoreDetails:
    """Arrays for the report: example frame, bits by patch and frame, law of light, codes, PIT."""
    data, heldout, law = parts.data, parts.heldout, parts.noise.law
    whole_frames = parts.groups.size == data.n_frames
    edges = np.linspace(0.0, 1.0, 21)
    codes, observed, predicted = _code_histogram(data, parts.model, parts.noise)
    return ScoreDetails(
        example_frame=data.example,
        example_frame_index=0,
        frame_names=parts.source.names if whole_frames else (),
        per_frame_bits=parts.group_bits if whole_frames else None,
        patch_positions=data.positions,
        per_patch_code_length_bits=heldout.full_bits,
        per_patch_conditional_bits=parts.influence_bits * parts.patch_size**2,
        intensity_grid_e=None if law is None else law.y_e,
        intensity_weights=None if law is None else law.weights,
        histogram_codes=codes,
        histogram_observed=observed,
        histogram_predicted=predicted,
        pit_edges=edges,
        pit_densities=np.histogram(heldout.pit, edges, density=True)[0],
    )


def with_curve(details: ScoreDetails, curve: Sequence[LearningPoint]) -> ScoreDetails:
    """The arrays with those of a learning curve."""
    return replace(
        details,
        learning_patches=np.array([point.patches for point in curve], dtype=np.float64),
        learning_bits=np.array([point.value for point in curve]),
        learning_std_bits=np.array([point.std for point in curve]),
    )
