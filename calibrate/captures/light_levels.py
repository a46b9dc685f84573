"""Flats of one exposure under several lamp levels, told apart by their names or by their mean codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from calibrate.captures.capture_set import FrameReference, Level
from calibrate.captures.names import stem_without_number, without_settings
from calibrate.frames import iterate_frames, stem_of
from calibrate.plumbing.errors import PhotonbitsError

AddNote = Callable[[str, str], None]
FloatArray = NDArray[np.float64]

#: Two levels of two frames: with fewer there is no pair on either side.
_FEWEST_FRAMES = 4
#: Light over which flats of one name are one level without a second look: no more than lamps drift.
_SAME_LIGHT = 0.01
#: Range of the light, as a share, from which levels are looked for in names, or people are asked about them.
_OTHER_LIGHT = 0.05
#: A gap between levels exceeds the range within its neighbours so many times, ...
_GAP_OVER_RANGE = 2.5
#: ... the standard error of a frame's mean so many times, ...
_GAP_SIGMAS = 6.0
#: ... and this share of the light over the number of levels, never less than 1 %: two levels differ by 5 % at least,
#: while ten steps may be as fine as those of a lamp that is turned up evenly.
_GAP_OF_LIGHT = 0.1
#: Share of the variance of the light that levels by name explain.
_EXPLAINED = 0.9
_LAMP_SCATTER = 1e-3
_SAMPLE_PIXELS = 1 << 16
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_KEYS = "with `level` or `photons_per_pixel` in a manifest, pages of a stack with `index`"


@dataclass(frozen=True)
class _Light:
    """Mean codes of frames above the offset of a dark (0 without one), and their standard errors, DN."""

    signal_dn: FloatArray
    error_dn: FloatArray

    def of(self, rows: Sequence[int]) -> _Light:
        return _Light(self.signal_dn[list(rows)], self.error_dn[list(rows)])

    @property
    def span(self) -> float:
        """Range over the largest signal."""
        top = float(np.max(self.signal_dn))
        return float(np.ptp(self.signal_dn)) / top if top > 0 else 0.0

    @property
    def is_one(self) -> bool:
        return self.span < _SAME_LIGHT or np.ptp(self.signal_dn) < _GAP_SIGMAS * np.sqrt(2) * np.max(self.error_dn)


def separate_light(groups: Sequence[tuple[Level, bool]], root: Path, add_note: AddNote) -> list[Level]:
    """Levels of one light each.

    Parameters
    ----------
    groups : sequence of (Level, bool)
        Frames that agree in all that was said; True where nothing but the exposure could tell their light, so that
        bright ones are looked at.
    root : Path
        Names are read relative to it.
    add_note : callable
        Receives (what was found, "").

    Notes
    -----
    Four frames of a group are read; all, where these differ by over 1 % of the signal. Names (folder, name without
    running number and settings, stack, or a number in the name) tell levels where they explain nine tenths of the
    variance of the light. Else, and within these, mean codes tell levels apart that have two frames or more and a gap
    between them that is large against the range within the levels, the error of a mean, and a lamp's drift. Frames
    that cannot be read stay together: the error is for whoever needs their pixels.
    """
    darks = [level for level, _ in groups if level.kind == "dark"]
    levels: list[Level] = []
    remarks: dict[str, list[str]] = {}
    for level, is_open in groups:
        if not is_open or level.kind != "bright" or level.n_frames < _FEWEST_FRAMES:
            levels.append(level)
            continue
        try:
            levels += _separate(level, darks, root, remarks)
        except PhotonbitsError:
            levels.append(level)
    for remark, cases in remarks.items():
        add_note(f"{', '.join(cases[:3])}{' ...' if len(cases) > 3 else ''} {remark}", "")
    return levels


def _separate(level: Level, darks: Sequence[Level], root: Path, remarks: dict[str, list[str]]) -> list[Level]:
    n = level.n_frames
    # In golden sections: at even steps a series that goes up and down, or from pair to pair, may look constant.
    probes = sorted({0, int(0.382 * n), int(0.618 * n), n - 1})
    offset = _offset_dn(level, darks)
    if _look_at([level.frames[place] for place in probes], offset).is_one:
        return [level]
    light = _look_at(level.frames, offset)
    if light.is_one:
        return [level]
    words, parts = "", [list(range(n))]
    if light.span >= _OTHER_LIGHT:
        words, parts = _by_name(level.frames, root, light) or (words, parts)
    finer = [part for rows in parts for part in _by_light(light, rows)]
    if len(finer) > len(parts):
        words = f"{words} and by their mean codes" if words else "by their mean codes"
    _remark(level, light, finer, words, remarks)
    finer.sort(key=lambda rows: float(np.mean(light.signal_dn[rows])))
    return [replace(level, frames=tuple(level.frames[row] for row in rows)) for rows in finer]


def _remark(level: Level, light: _Light, parts: list[list[int]], words: str, remarks: dict[str, list[str]]) -> None:
    """Put into words what was found, one remark for all exposures that share it."""
    what = f"{level.n_frames} flats of {'one name' if level.exposure_s is None else f'{level.exposure_s:g} s'}"
    if len(parts) > 1:
        remark = f"differ in light and are told apart {words}: name the levels {_KEYS} if that is wrong"
        remarks.setdefault(remark, []).append(f"{what} ({len(parts)} levels)")
    worst = max((light.of(rows) for rows in parts), key=lambda part: part.span)
    # Where names tell levels, frames of one may scatter more before it is worth a question.
    if worst.span >= _OTHER_LIGHT * (1 if len(parts) == 1 else 4) and not worst.is_one:
        remark = (
            "differ in light and fall into no clear groups, so they are taken as one level: if the lamp was changed, "
            f"name the levels {_KEYS}"
        )
        case = f"{what} (by {100 * worst.span:.0f} %)" if len(parts) == 1 else f"some of {what}"
        remarks.setdefault(remark, []).append(case)


def _offset_dn(level: Level, darks: Sequence[Level]) -> float:
    """Mean code of a dark of the level's setting, else of any; 0 where there is none."""
    setting = (level.gain_setting, level.temperature_c, level.mode)
    own = [dark for dark in darks if (dark.gain_setting, dark.temperature_c, dark.mode) == setting]
    for dark in (own or darks)[:1]:
        return float(_look_at(dark.frames[:1], 0.0).signal_dn[0])
    return 0.0


def _look_at(references: Sequence[FrameReference], offset_dn: float) -> _Light:
    means, errors = [], []
    for frame in iterate_frames(references):
        means.append(float(np.mean(frame, dtype=np.float64)) - offset_dn)
        # The spread over pixels holds the fixed pattern as well: too large an error, if anything.
        step = max(1, int(np.sqrt(frame.size / _SAMPLE_PIXELS)))
        errors.append(float(np.std(frame[::step, ::step], dtype=np.float64)) / np.sqrt(frame.size))
    return _Light(np.array(means), np.array(errors))


def _by_name(references: Sequence[FrameReference], root: Path, light: _Light) -> tuple[str, list[list[int]]] | None:
    """The first way to read the names that explains the light, and the rows of each of its levels."""
    for words, keys in _readings(references, root):
        groups: dict[object, list[int]] = {}
        for row, key in enumerate(keys):
            groups.setdefault(key, []).append(row)
        parts = list(groups.values())
        if len(parts) < 2 or min(map(len, parts)) < 2:
            continue
        total = float(np.var(light.signal_dn)) * light.signal_dn.size
        within = sum(float(np.var(light.signal_dn[rows])) * len(rows) for rows in parts)
        if within <= (1 - _EXPLAINED) * total:
            return words, parts
    return None


def _readings(references: Sequence[FrameReference], root: Path) -> Iterator[tuple[str, list[object]]]:
    names = [_relative(reference.path, root) for reference in references]
    stems = [without_settings(stem_of(Path(name))) for name in names]
    is_stack = len({reference.path for reference in references}) < len(references)
    labels = stems if is_stack else [stem_without_number(stem) for stem in stems]
    parents = [name.parent.as_posix() for name in names]
    yield (
        "by their folders" if len(set(labels)) == 1 else "by their names",
        list(zip(parents, labels, strict=True)),
    )
    yield "by their folders", list(parents)
    numbers = [_NUMBER.findall(stem) for stem in stems]
    if len({_NUMBER.sub("#", stem) for stem in stems}) == 1:
        for values in zip(*numbers, strict=True):
            yield "by a number in their names", list(values)


def _relative(path: Path, root: Path) -> PurePath:
    try:
        return path.relative_to(root)
    except ValueError:
        return PurePath(path.name)


def _by_light(light: _Light, rows: list[int]) -> list[list[int]]:
    """Rows by level, in one where no levels are clear: cut where gaps drop most from large to small, then once more."""
    part = light.of(rows)
    n = len(rows)
    if n < _FEWEST_FRAMES or part.is_one:
        return [rows]
    order = np.argsort(part.signal_dn, kind="stable")
    signal = part.signal_dn[order]
    gaps = np.diff(signal)
    error = np.sqrt(2) * np.maximum(part.error_dn[order][1:], part.error_dn[order][:-1])
    height = gaps / (np.hypot(_LAMP_SCATTER * signal[1:], error) + 1e-300)
    ranked = np.argsort(-height, kind="stable")
    best, pieces = 0.0, [order]
    # Single frames, of which a series may hold a few, only where there is no other way: any wide pair is two of them.
    for share_of_singles in (0.0, 0.25):
        for n_levels in range(2, n):
            drop = float(height[ranked[n_levels - 2]] / max(height[ranked[n_levels - 1]], 1e-300))
            if drop > best:
                cuts = np.sort(ranked[: n_levels - 1])
                edges = np.concatenate([[0], cuts + 1, [n]])
                singles = int(np.sum(np.diff(edges) == 1))
                if singles <= share_of_singles * n_levels and _are_clear(signal, error, edges):
                    best, pieces = drop, [order[start:stop] for start, stop in pairwise(edges)]
        if len(pieces) > 1:
            break
    found = [sorted(rows[int(place)] for place in piece) for piece in pieces]
    return [finer for piece in found for finer in _by_light(light, piece)] if len(found) > 1 else [rows]


def _are_clear(signal: FloatArray, error: FloatArray, edges: NDArray[np.int64]) -> bool:
    """Whether all gaps between levels, sorted signals from one edge to the next, are large enough to be believed."""
    cuts = edges[1:-1] - 1
    ranges = signal[edges[1:] - 1] - signal[edges[:-1]]
    least = np.maximum.reduce(
        [
            _GAP_OVER_RANGE * np.maximum(ranges[1:], ranges[:-1]),
            _GAP_SIGMAS * error[cuts],
            max(_GAP_OF_LIGHT / ranges.size, _SAME_LIGHT) * signal[cuts + 1],
        ]
    )
    return bool(np.all(signal[cuts + 1] - signal[cuts] > least))
