"""What a report shows beyond the score's JSON: plain arrays that the estimator fills in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ScoreDetails:
    """Arrays behind a score; None where one was not kept. The report leaves out what is missing.

    Parameters
    ----------
    example_frame : ndarray (h, w) or None
        Codes of one frame.
    example_frame_index : int
        Its number among the frames; patches of this frame make the map of local information.
    frame_names : tuple of str
        File names, one for each of ``per_frame_bits``; may be empty.
    per_frame_bits : ndarray (n_frames,) or None
        Information of each frame, bits per pixel.
    patch_positions : ndarray (n_patches, 3) of int or None
        Frame, row and column of the upper left pixel of every patch.
    per_patch_code_length_bits : ndarray (n_patches,) or None
        Held-out code length, bits per patch.
    per_patch_conditional_bits : ndarray (n_patches,) or None
        H(Z|Y) of the patch, bits per patch.
    intensity_grid_e, intensity_weights : ndarray (n_grid,) or None
        The law of collected charge: grid in electrons, increasing, and weights that sum to 1.
    histogram_codes, histogram_observed, histogram_predicted : ndarray (n_codes,) or None
        Codes, increasing; observed counts; probability of each code under the intensity law and the noise model.
    pit_edges : ndarray (n_bins + 1,) or None
        Edges of the probability-integral-transform histogram, 0 to 1.
    pit_densities : ndarray (n_bins,) or None
        Its densities, 1 everywhere for a density model without fault.
    learning_patches, learning_bits, learning_std_bits : ndarray (n_points,) or None
        Learning curve: patches, score of as many in bits per pixel, its standard error (may be None).

    Raises
    ------
    ValueError
        Arrays that belong together differ in length.
    """

    example_frame: NDArray[np.generic] | None = None
    example_frame_index: int = 0
    frame_names: tuple[str, ...] = ()
    per_frame_bits: FloatArray | None = None
    patch_positions: IntArray | None = None
    per_patch_code_length_bits: FloatArray | None = None
    per_patch_conditional_bits: FloatArray | None = None
    intensity_grid_e: FloatArray | None = None
    intensity_weights: FloatArray | None = None
    histogram_codes: FloatArray | None = None
    histogram_observed: FloatArray | None = None
    histogram_predicted: FloatArray | None = None
    pit_edges: FloatArray | None = None
    pit_densities: FloatArray | None = None
    learning_patches: FloatArray | None = None
    learning_bits: FloatArray | None = None
    learning_std_bits: FloatArray | None = None

    def __post_init__(self) -> None:
        for names in (
            ("patch_positions", "per_patch_code_length_bits", "per_patch_conditional_bits"),
            ("intensity_grid_e", "intensity_weights"),
            ("histogram_codes", "histogram_observed", "histogram_predicted"),
            ("learning_patches", "learning_bits", "learning_std_bits"),
        ):
            lengths = {name: len(getattr(self, name)) for name in names if getattr(self, name) is not None}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"lengths differ: {lengths}")
        if self.example_frame is not None and np.ndim(self.example_frame) != 2:
            raise ValueError(f"example_frame has shape {np.shape(self.example_frame)}; expected (height, width)")
        if self.patch_positions is not None and np.shape(self.patch_positions)[1:] != (3,):
            raise ValueError(f"patch_positions has shape {np.shape(self.patch_positions)}; expected (n_patches, 3)")
        edges, densities = self.pit_edges, self.pit_densities
        if edges is not None and densities is not None and len(edges) != len(densities) + 1:
            raise ValueError(f"pit_edges has {len(edges)} entries for {len(densities)} bins")
        if self.frame_names and self.per_frame_bits is not None and len(self.frame_names) != len(self.per_frame_bits):
            raise ValueError(f"{len(self.frame_names)} frame_names for {len(self.per_frame_bits)} per_frame_bits")
