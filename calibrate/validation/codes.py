"""What the codes themselves say: left-aligned words, pile-ups at either end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from calibrate.noise_model import NoiseModel
from calibrate.validation.diagnoses import SIGMAS, Finding, finding, threshold
from calibrate.validation.observed import Cell, Observed
from calibrate.validation.prediction import highest_mean_dn, predict_dark_mean, settle

#: Share of a level's pixels at its highest code that no noise makes; less counts where another level shares the code.
_PILE = 0.2
#: Share of the range by which a pile-up must lie below the model's ceiling to be another one.
_BELOW = 0.02


@dataclass(frozen=True)
class PileUp:
    """A highest code below the model's ceiling, and the largest share of a level's pixels at it."""

    code_dn: float
    share: float
    ceiling_dn: float

    @property
    def finding(self) -> Finding:
        """The diagnosis."""
        return finding("saturated", percent=100 * self.share, code=self.code_dn, ceiling_dn=self.ceiling_dn)


def find_pile_up(model: NoiseModel, observed: Observed) -> PileUp | None:
    """Where bright frames saturate below the model's ceiling; None where they do not."""
    top = highest_mean_dn(model.camera)
    entry = model.parameter("saturation_dn")
    if entry is not None:
        top = min(top, entry.value)
    offset = float(model.camera.offset_dn)
    brights = [level for level in observed.levels if level.kind == "bright"]
    worst: PileUp | None = None
    for level in brights:
        count = level.maximum_fraction * level.n_pixels * level.n_frames
        # Where noise alone ends a distribution, its last code holds a handful of pixels of this level alone.
        shared = any(other is not level and other.maximum_code == level.maximum_code for other in brights)
        piled = level.maximum_fraction > _PILE or (shared and level.maximum_fraction > threshold("saturated"))
        wide = level.maximum_code - level.minimum_code > 8 or level.maximum_fraction > 0.9
        if piled and wide and count > 100 and level.maximum_code < top - _BELOW * abs(top - offset):
            found = PileUp(level.maximum_code, level.maximum_fraction, top)
            worst = found if worst is None or found.share > worst.share else worst
    return worst


def find_left_alignment(model: NoiseModel, observed: Observed) -> list[Finding]:
    """Codes that are all multiples of a power of two, whether the model's were not, or were without its knowledge."""
    step = observed.code_step
    spread = max(level.maximum_code - level.minimum_code for level in observed.levels)
    known = is_left_aligned(model)
    if step < threshold("left_aligned") or spread < 8 * step:
        return []
    option = f"--shift-bits {step.bit_length() - 1}"
    if known:
        whose = "as the model's were, and the model does not know the rounding to that step"
        advice = f"Fit again with {option}, and check with it."
    else:
        whose = "the model's were not"
        advice = f"Check with {option}, or switch the camera to its unpacked pixel format."
    return [finding("left_aligned", step=step, model=whose, advice=advice)]


def is_left_aligned(model: NoiseModel) -> bool:
    """Whether the model was fitted to left-aligned codes, and says so."""
    return any(entry.code == "left_aligned" for entry in model.document.fit.flags)


def find_black_clipping(model: NoiseModel, observed: Observed) -> list[Finding]:
    """More pixels at the lowest code than the model expects; darks speak for themselves, flats where there are none."""
    if model.bit_depth is None:
        return []
    bare = model.with_parameters()
    for kind in ("dark", "bright"):
        worst: tuple[float, float] | None = None
        for cell in (cell for cell in observed.cells if cell.kind == kind and cell.at_black):
            share = cell.at_black / (2 * cell.n_pairs)
            expected = _expected_at_black(bare, cell)
            error = np.sqrt(max(expected, share) / (2 * cell.n_pairs))
            beyond = share - 1.5 * expected > threshold("clipped_black") + SIGMAS * error
            if beyond and (worst is None or share > worst[0]):
                worst = share, expected
        if worst is not None:
            values = {"percent": 100 * worst[0], "expected": 100 * worst[1]}
            return [finding("clipped_black", kind=kind, lowest=model.camera.black_clip_dn, **values)]
    return []


def _expected_at_black(bare: NoiseModel, cell: Cell) -> float:
    """Share of codes at the black clip that the model gives the cell; darks at the model's own offset."""
    point = cell.point
    if point.dark_charge_e is not None:
        point = replace(point, mean_dn=predict_dark_mean(bare, point))
    mixture = settle(bare, point)
    return float(mixture.weights @ mixture.pmf[:, 0]) if mixture.first_code == bare.camera.black_clip_dn else 0.0
