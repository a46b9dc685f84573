"""A lower bound of the information from two shots of each scene, with a critic that knows no noise model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from mi_eval.score_parts import ScoreParts

IntArray = NDArray[np.int64]

#: Scenes of which two shots are needed: `learned_bound` holds a fifth out to choose, and a fifth for the value.
FEWEST_SCENES = 50
_LARGEST_BATCH = 128
#: Standard errors by which the bound has to be above 0 to say anything.
_SIGNIFICANT = 2.0


@dataclass(frozen=True)
class TwoShotBound:
    """InfoNCE between two shots of one patch of each scene, bits per pixel.

    Parameters
    ----------
    value, std : float
        The bound in expectation, and its standard error over the held-out scenes.
    cap : float
        log2 of the held-out scenes over the pixels of a patch: no larger value can come out.
    scenes, heldout_scenes : int
    critic_parameters : int
    seeds : tuple of int
    capped : bool
        Above 0.8 of the cap: it tells the number of scenes, not the information.
    """

    value: float
    std: float
    cap: float
    scenes: int
    heldout_scenes: int
    critic_parameters: int
    seeds: tuple[int, ...]
    capped: bool

    @property
    def significant(self) -> bool:
        """Whether it stands out of its error."""
        return self.value > _SIGNIFICANT * self.std

    def to_dict(self) -> dict[str, Any]:
        """The block ``two_shots`` of score.json."""
        return {**vars(self), "seeds": list(self.seeds)}


def two_shot_bound(parts: ScoreParts) -> TwoShotBound:
    """Lower bound of I(X;Z) from frames of which at least 50 scenes have two shots.

    Raises
    ------
    PhotonbitsError
        If fewer scenes were shot twice, the scene moved against the patches, or torch is missing.

    Notes
    -----
    Two shots share nothing but the scene, so I(Z1;Z2) <= I(X;Z). Scenes are independent draws and patches of one scene
    are not: one patch of each scene is what the bound rests on. It is cut at one place for all scenes, chosen at
    random: there the pattern of the sensor is the same in every pair, and tells none from another.
    """
    scene = None if parts.repeats is None else parts.repeats.scene
    pairs = np.empty((0, 2), dtype=np.int64) if scene is None else _pairs(scene, parts.data.positions, parts.seed)
    if len(pairs) < FEWEST_SCENES:
        raise PhotonbitsError(
            f"{len(pairs)} scenes with two shots",
            legal=f"{FEWEST_SCENES} or more for a two-shot bound",
            remedy="Shoot every scene twice in a row; --max-patches must leave both shots the same patches",
        )
    from mi_eval.bounds.learned import learned_bound

    patches = parts.data.patches.value_dn
    first, second = patches[pairs[:, 0]], patches[pairs[:, 1]]
    found = learned_bound(
        first, second, seeds=(parts.seed, parts.seed + 1), batch=min(_LARGEST_BATCH, int(0.6 * len(pairs)) - 1)
    )
    return TwoShotBound(
        value=float(found.lower_bits_per_pixel),
        std=float(found.std_bits_per_pixel),
        cap=float(found.cap_bits_per_pixel),
        scenes=len(pairs),
        heldout_scenes=found.test_pairs,
        critic_parameters=found.critic_parameters,
        seeds=found.seeds,
        capped=bool(found.capped),
    )


def _pairs(scene: IntArray, positions: IntArray, seed: int) -> IntArray:
    """Numbers of two patches at one place, the same for all, in the first two frames of each scene: (n_scenes, 2)."""
    by_frame: dict[int, dict[tuple[int, int], int]] = {}
    for number, (frame, row, column) in enumerate(positions.tolist()):
        by_frame.setdefault(frame, {})[(row, column)] = number
    shots = [np.flatnonzero(scene == name)[:2] for name in np.unique(scene)]
    pairs = [(by_frame.get(int(pair[0]), {}), by_frame.get(int(pair[1]), {})) for pair in shots if pair.size == 2]
    count = Counter(place for one, other in pairs for place in one.keys() & other.keys())
    if not count:
        return np.empty((0, 2), dtype=np.int64)
    most = max(count.values())
    places = sorted(place for place, number in count.items() if number == most)
    place = places[int(np.random.default_rng([seed, 5]).integers(len(places)))]
    return np.array([(one[place], other[place]) for one, other in pairs if place in one and place in other])
