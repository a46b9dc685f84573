"""compare_information: which of several cameras, settings or exposures carries more, and whether that is certain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError, __version__
from mi_eval.bursts import Repeats, find_repeats
from mi_eval.code_lengths import Density
from mi_eval.compare_details import entry_details
from mi_eval.comparison import UNDECIDED, Comparison, PairResult
from mi_eval.difference import Difference, difference_of, holm
from mi_eval.estimate import frame_source, information_estimate, load_model
from mi_eval.frame_source import FrameSource, Region
from mi_eval.frames_check import CheckedFrames, check_frames
from mi_eval.measurements import FEWEST_PATCHES
from mi_eval.patch_places import PatchPlaces, patch_places
from mi_eval.result import InformationEstimate, IntervalEstimate
from mi_eval.scenes import scenes_correspond
from mi_eval.score_parts import ScoreParts, measure_checked
from mi_eval.warnings import ScoreWarning, threshold, warning

__all__ = ["Comparison", "compare_information"]

Frames = NDArray[Any] | Sequence[NDArray[Any] | str | Path]
Entry = tuple[Frames, NoiseModel | str | Path]

_SIGNIFICANT = 0.05


def compare_information(
    entries: Mapping[str, Entry] | Sequence[Entry],
    *,
    paired: bool | None = None,
    patch_size: int = 16,
    seed: int = 0,
    max_patches: int = 20_000,
    exposures_s: Mapping[str, float] | None = None,
    shift_bits: int | Mapping[str, int] = 0,
    roi: bool = False,
    density: Literal["closed-form", "network", "reference"] = "closed-form",
    deterministic: bool = False,
) -> Comparison:
    r"""Difference in information between two or more sets of raw frames, with a 95 % interval and a verdict.

    All entries are scored with the same density families, folds, numbers of patches and, where frames have one size,
    the same places of patches.

    Parameters
    ----------
    entries : mapping of name to (frames, noise model), or sequence of (frames, noise model)
        Two or more; frames and models as for `estimate_information`. Without names they are called a, b, c, ...
    paired : bool, optional
        True: frame i shows the same scene in every entry, and the differences are taken frame by frame. False: the
        same kind of scenes. None: paired where number, shape and the scenes themselves correspond.
    patch_size, seed, max_patches, deterministic
        As for `estimate_information`.
    exposures_s : mapping of name to exposure, optional
        Leaves dark charge out of the mean signal.
    shift_bits : int or mapping of name to int
        Empty low bits of left-aligned codes: of all entries, or of those that are named.
    roi : bool
        Frames of half the calibrated size are a region of interest, not binned: in all entries.
    density : {"closed-form", "network", "reference"}
        Families of densities, the same for all entries: closed-form ones, with a neural network, or with a slow
        reference network too.

    Raises
    ------
    PhotonbitsError
        Fewer than two entries; noise models of different kinds or units; ``paired`` with another number of frames or
        another frame size; and whatever `estimate_information` raises.

    Notes
    -----
    Verdict: different where the interval of the difference, widened by the densities' slack and by what the codes
    leave open about H(Z|Y), excludes 0; with more than two entries after Holm's correction over all pairs.
    See docs/theory/comparison.md.
    """
    named = _named(entries)
    bits = _bits_of(shift_bits, named)
    sources = {name: frame_source(frames).shifted(bits[name]) for name, (frames, _) in named.items()}
    loaded: dict[Path, NoiseModel] = {}
    models = {name: _load(model, loaded) for name, (_, model) in named.items()}
    _check_kinds(models)
    exposures = exposures_s or {}
    frames = {
        name: check_frames(source, models[name], exposure_s=exposures.get(name), roi=roi)
        for name, source in sources.items()
    }
    if paired:
        _check_pairs({name: checked.source for name, checked in frames.items()})
    parts = _measure(frames, models, patch_size, seed, max_patches)
    found = _correspond(parts)
    pair_up = bool(found) if paired is None else paired
    scores = {
        name: information_estimate(part, exposure_s=exposures.get(name), deterministic=deterministic)
        for name, part in parts.items()
    }
    couples = list(combinations(parts, 2))
    differences = [difference_of(parts[a], parts[b], paired=pair_up) for a, b in couples]
    raw, decided = (holm(p) for p in zip(*[(d.p_value, d.p_value_with_sets) for d in differences], strict=True))
    pairs = tuple(
        _pair(a, b, difference, p, reached)
        for (a, b), difference, p, reached in zip(couples, differences, raw, decided, strict=True)
    )
    return Comparison(
        entries=tuple(scores.items()),
        pairs=pairs,
        paired=pair_up,
        patch_size=int(patch_size),
        warnings=_doubts(parts, scores, pairs, differences, pair_up, found),
        seed=seed,
        version=__version__,
        details={name: entry_details(part) for name, part in parts.items()},
    )


def _named(entries: Mapping[str, Entry] | Sequence[Entry]) -> dict[str, Entry]:
    if not isinstance(entries, Mapping):
        if len(entries) > 26:
            raise PhotonbitsError(f"{len(entries)} entries without names", legal="26 at most; give a mapping of names")
        entries = {chr(ord("a") + number): entry for number, entry in enumerate(entries)}
    if len(entries) < 2:
        raise PhotonbitsError(f"{len(entries)} entries to compare", legal="two or more")
    for name, entry in entries.items():
        if not name or name == UNDECIDED:
            raise PhotonbitsError(f"entry named {name!r}", legal=f"any name but {UNDECIDED!r} and the empty one")
        if len(entry) != 2:
            raise PhotonbitsError(f"entry {name} has {len(entry)} parts", legal="(frames, noise model)")
    return dict(entries)


def _bits_of(shift_bits: int | Mapping[str, int], entries: Mapping[str, Entry]) -> dict[str, int]:
    """Empty low bits of every entry."""
    if not isinstance(shift_bits, Mapping):
        return dict.fromkeys(entries, shift_bits)
    unknown = sorted(set(shift_bits) - set(entries))
    if unknown:
        raise PhotonbitsError(f"shift_bits of {unknown[0]!r}, which is no entry", legal=", ".join(entries))
    return {name: shift_bits.get(name, 0) for name in entries}


def _load(model: NoiseModel | str | Path, loaded: dict[Path, NoiseModel]) -> NoiseModel:
    """One model for one path, so that its errors are known to be the same ones."""
    if isinstance(model, NoiseModel):
        return model
    path = Path(model)
    if path not in loaded:
        loaded[path] = load_model(path)
    return loaded[path]


def _check_kinds(models: Mapping[str, NoiseModel]) -> None:
    """Refuse what is not measured in the same unit."""
    kinds = {name: model.camera.kind for name, model in models.items()}
    if len(set(kinds.values())) > 1:
        raise PhotonbitsError(
            "noise models of different kinds: " + ", ".join(f"{name} {kind}" for name, kind in kinds.items()),
            legal="one kind",
            remedy="Compare cameras whose noise is described alike",
        )
    coded = {name: "integer codes" if model.bit_depth is not None else "real values" for name, model in models.items()}
    if len(set(coded.values())) > 1:
        raise PhotonbitsError(
            "measurements in different units: " + ", ".join(f"{name} {unit}" for name, unit in coded.items()),
            legal="integer codes in all entries, or real values in all",
        )


def _check_pairs(sources: Mapping[str, FrameSource]) -> None:
    for what, values in (
        ("frames", {name: source.n_frames for name, source in sources.items()}),
        ("frame sizes", {name: source.shape for name, source in sources.items()}),
    ):
        if len(set(values.values())) > 1:
            said = ", ".join(
                f"{name} {value if isinstance(value, int) else f'{value[0]} x {value[1]}'}"
                for name, value in values.items()
            )
            raise PhotonbitsError(
                f"paired frames, and different {'numbers of frames' if what == 'frames' else what}: {said}",
                legal="the same scenes in the same order, at one size",
                remedy="Leave out --paired to compare the same kind of scenes",
            )


def _measure(
    frames: Mapping[str, CheckedFrames],
    models: Mapping[str, NoiseModel],
    patch_size: int,
    seed: int,
    max_patches: int,
    density: Density = "closed-form",
) -> dict[str, ScoreParts]:
    """Score every entry with one number of patches and, for frames of one size, at common places."""
    shapes = {checked.source.shape for checked in frames.values()}
    repeats = _repeats(frames, models)
    common: PatchPlaces | None = None
    if len(shapes) == 1 and patch_size == int(patch_size):
        shape = next(iter(shapes))
        common = patch_places(shape, list(models.values()), int(patch_size), _exposed(frames.values()))
        most = min(checked.source.n_frames for checked in frames.values()) * common.size
        max_patches = min(max_patches, max(most, FEWEST_PATCHES))
    return {
        name: measure_checked(
            checked,
            models[name],
            patch_size=patch_size,
            seed=seed,
            max_patches=max_patches,
            places=common,
            density=density,
            repeats=repeats[name],
        )
        for name, checked in frames.items()
    }


def _repeats(frames: Mapping[str, CheckedFrames], models: Mapping[str, NoiseModel]) -> dict[str, Repeats]:
    """Frames that repeat the scene before them; where all entries have one number of frames, in any of the entries."""
    found = {
        name: find_repeats(own.source, models[name], exposed=own.exposed, exposure_s=own.exposure_s)
        for name, own in frames.items()
    }
    if len({repeats.scene.size for repeats in found.values()}) > 1:
        return found
    new = np.all([np.diff(repeats.scene, prepend=-1) != 0 for repeats in found.values()], axis=0)
    return {name: replace(repeats, scene=np.cumsum(new) - 1) for name, repeats in found.items()}


def _exposed(frames: Iterable[CheckedFrames]) -> Region | None:
    """What is exposed in all of them; None for everything."""
    regions = [checked.exposed for checked in frames if checked.exposed is not None]
    if not regions:
        return None
    top, bottom, left, right = zip(*regions, strict=True)
    return max(top), min(bottom), max(left), min(right)


def _correspond(parts: Mapping[str, ScoreParts]) -> bool | None:
    """Whether frames of all entries show the same scenes in the same order; None where that cannot be told."""
    first, *others = (part.data.thumbnails for part in parts.values())
    found = [scenes_correspond(first, other) for other in others]
    if False in found:
        return False
    return None if None in found else True


def _pair(first: str, second: str, difference: Difference, p_holm: float, p_decided: float) -> PairResult:
    different = p_decided < _SIGNIFICANT
    verdict = (first if difference.value_bits > 0 else second) if different else UNDECIDED
    return PairResult(
        first=first,
        second=second,
        difference_bits_per_pixel=IntervalEstimate(difference.value_bits, difference.std_bits, difference.ci95),
        p_value=difference.p_value,
        p_value_holm=p_holm,
        verdict=verdict,
        sampling_std=difference.sampling_std_bits,
        calibration_std=difference.calibration_std_bits,
        slack=difference.slack_bits,
        conditional_entropy=difference.conditional_bits,
        shared_noise_model=difference.shared_calibration,
        frame_bits=difference.frame_bits,
    )


def _doubts(
    parts: Mapping[str, ScoreParts],
    scores: Mapping[str, InformationEstimate],
    pairs: Sequence[PairResult],
    differences: Sequence[Difference],
    paired: bool,
    correspond: bool | None,
) -> tuple[ScoreWarning, ...]:
    """Reasons why the difference may be none of the camera's, and what stands in the way of a verdict."""
    out: list[ScoreWarning] = []
    if paired and correspond is False:
        out.append(warning("scenes_do_not_correspond"))
    if not paired and correspond:
        out.append(warning("scenes_correspond"))
    light = {name: score.mean_signal_e for name, score in scores.items()}
    low, high = min(light, key=lambda name: light[name]), max(light, key=lambda name: light[name])
    if light[low] > 0 and light[high] / light[low] > threshold("light_differs"):
        out.append(warning("light_differs", low=low, low_e=light[low], high=high, high_e=light[high]))
    frames = {name: score.effective_scenes or float(score.frames) for name, score in scores.items()}
    few, many = min(frames, key=lambda name: frames[name]), max(frames, key=lambda name: frames[name])
    if frames[many] / frames[few] > threshold("scenes_differ"):
        out.append(warning("scenes_differ", few=few, n_few=frames[few], many=many, n_many=frames[many]))
    clipped = {name: 100 * score.saturated_fraction for name, score in scores.items()}
    least, most = min(clipped, key=lambda name: clipped[name]), max(clipped, key=lambda name: clipped[name])
    if clipped[most] - clipped[least] > 100 * threshold("saturation_differs"):
        out.append(warning("saturation_differs", least=least, low=clipped[least], most=most, high=clipped[most]))
    if len({part.source.shape for part in parts.values()}) > 1:
        out.append(warning("sizes_differ"))
    for pair, difference in zip(pairs, differences, strict=True):
        low_end, high_end = difference.random_ci95
        if pair.verdict == UNDECIDED and pair.p_value_holm < _SIGNIFICANT and not low_end <= 0 <= high_end:
            out.append(warning("sets_decide", first=pair.first, second=pair.second))
    return tuple(out)
