"""Where the frames to score come from: arrays, files, folders and manifests, and what their headers say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError
from calibrate.captures import FrameReference, SceneFile, describe_scene, load_scenes
from calibrate.captures.names import natural_key
from calibrate.frames import iterate_frames, list_readers, reader_by_suffix, shift_right

#: First row, row after the last, first column, column after the last.
Region = tuple[int, int, int, int]

_MANIFESTS = ("manifest.yaml", "manifest.yml", "manifest.csv")


@dataclass(frozen=True)
class FrameSource:
    """Frames to score: where they are read from, how many, and their size.

    Parameters
    ----------
    frames : ndarray (n_frames, height, width), or tuple of FrameReference
        In memory, or read one at a time.
    names : tuple of str
    shape : (height, width)
        Of the frames that iteration yields.
    files : tuple of SceneFile
        What the file of each frame says about it; empty for frames in memory.
    crop : Region or None
        Part of the stored frames that iteration yields; None for all of it.
    index : tuple of slice or None
        Rows and columns of that part, where they are those of one channel.
    shift_bits : int
        Empty low bits that are taken off every code.
    """

    frames: NDArray[Any] | tuple[FrameReference, ...]
    names: tuple[str, ...]
    shape: tuple[int, int]
    files: tuple[SceneFile, ...] = ()
    crop: Region | None = None
    index: tuple[slice, slice] | None = None
    shift_bits: int = 0

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the frames in order."""
        stored = iterate_frames(self.frames) if isinstance(self.frames, tuple) else iter(self.frames)
        for number, frame in enumerate(stored):
            yield self._as_scored(frame, number)

    def sample(self, n_frames: int) -> list[tuple[int, NDArray[Any]]]:
        """At most ``n_frames`` frames with their numbers, spread evenly over all."""
        chosen = np.unique(np.linspace(0, self.n_frames - 1, min(n_frames, self.n_frames)).round().astype(np.int64))
        return list(self.pick([int(number) for number in chosen]).items())

    def pick(self, numbers: Sequence[int]) -> dict[int, NDArray[Any]]:
        """The frames with these numbers."""
        if isinstance(self.frames, tuple):
            stored: Iterator[NDArray[Any]] = iterate_frames([self.frames[number] for number in numbers])
        else:
            stored = (self.frames[number] for number in numbers)
        return {number: self._as_scored(frame, number) for number, frame in zip(numbers, stored, strict=True)}

    def take(self, index: tuple[slice, slice]) -> FrameSource:
        """The same frames, of which iteration yields the pixels ``index`` alone: those of one colour filter or tap."""
        rows, columns = (len(range(*part.indices(size))) for part, size in zip(index, self.shape, strict=True))
        return replace(self, shape=(rows, columns), index=index)

    def shifted(self, bits: int) -> FrameSource:
        """The same frames, whose codes have ``bits`` empty low bits that are taken off.

        Raises
        ------
        PhotonbitsError
            For a number of bits outside 0 to 16. Codes whose low bits are not empty are refused when they are read.
        """
        if not 0 <= bits <= 16:
            raise PhotonbitsError(f"shift_bits is {bits}", legal="0 to 16")
        return replace(self, shift_bits=bits) if bits else self

    def _as_scored(self, frame: NDArray[Any], number: int) -> NDArray[Any]:
        if self.crop is not None and frame.ndim == 2:
            frame = frame[self.crop[0] : self.crop[1], self.crop[2] : self.crop[3]]
        if self.index is not None and frame.ndim == 2:
            frame = np.ascontiguousarray(frame[self.index])
        return shift_right(frame, self.shift_bits, self.names[number]) if self.shift_bits else frame


def frames_from_array(frames: NDArray[Any]) -> FrameSource:
    """Frames in memory, shape (n_frames, height, width) or one frame (height, width).

    Raises
    ------
    PhotonbitsError
        For any other number of axes, or no frames.
    """
    frames = np.asarray(frames)
    if frames.ndim == 2:
        frames = frames[None]
    if frames.ndim != 3 or frames.size == 0:
        raise PhotonbitsError(f"frames have shape {frames.shape}", legal="(n_frames, height, width)")
    names = tuple(f"frame {i}" for i in range(frames.shape[0]))
    return FrameSource(frames, names, (frames.shape[1], frames.shape[2]))


def frames_from_paths(paths: Sequence[str | Path]) -> FrameSource:
    """Frames in files, folders (every supported image, by name) and manifests (their scenes), stacks page by page.

    Raises
    ------
    PhotonbitsError
        If a path does not exist, a file cannot be read, no frame is found, or shapes differ.
    """
    scenes: list[SceneFile] = []
    for path in map(Path, paths):
        scenes.extend(_scenes_of(path))
    if not scenes:
        raise PhotonbitsError("no frames", where=", ".join(map(str, paths)), legal="raw frames, or a folder of them")
    first = scenes[0]
    references: list[FrameReference] = []
    names: list[str] = []
    files: list[SceneFile] = []
    for scene in scenes:
        if scene.info.shape != first.info.shape:
            raise PhotonbitsError(
                f"frames of shape {scene.info.shape}",
                where=scene.path,
                legal=f"{first.info.shape}, as in {first.path}",
                remedy="Score one size at a time",
            )
        for page in scene.pages:
            references.append(replace(scene.reference, index=page))
            names.append(scene.path.name if scene.info.n_frames == 1 else f"{scene.path.name}[{page}]")
            files.append(scene)
    return FrameSource(tuple(references), tuple(names), first.info.shape, tuple(files))


def _scenes_of(path: Path) -> list[SceneFile]:
    if path.suffix.lower() in (".yaml", ".yml", ".csv"):
        return list(load_scenes(path))
    files = _expand(path)
    if files is None:  # a folder with nothing but a manifest and the headerless files that it lists
        manifests = [path / name for name in _MANIFESTS if (path / name).is_file()]
        if len(manifests) == 1:
            return list(load_scenes(manifests[0]))
        suffixes = sorted(suffix for known in list_readers().values() for suffix in known)
        raise PhotonbitsError(
            f"no frames in folder {path}",
            legal=f"files ending in {', '.join(suffixes)}, or one manifest that lists the scenes",
        )
    root = path if path.is_dir() else path.parent
    return [describe_scene(FrameReference(file), root) for file in files]


def _expand(path: Path) -> list[Path] | None:
    """The image files that a path stands for; None for a folder without any."""
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        return sorted((file for file in files if reader_by_suffix(file) is not None), key=natural_key) or None
    if not path.exists() and any(letter in path.name for letter in "*?["):
        found = sorted(path.parent.glob(path.name), key=natural_key)  # shells that do not expand patterns
        if found:
            return found
    if not path.exists():
        raise PhotonbitsError(f"no such file or folder: {path}", legal="raw frames, or a folder of them")
    return [path]
