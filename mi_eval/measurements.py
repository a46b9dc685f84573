"""From raw frames to patches: positions, per-pixel noise parameters, and the groups that are held out together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from calibrate.captures import FrameReference
from calibrate.captures.names import natural_key
from calibrate.frames import describe_file, iterate_frames, list_readers, reader_by_suffix
from calibrate.plumbing.progress import track
from mi_eval.density import PatchSet
from mi_eval.patch_places import PatchPlaces, crop_to_patches, patch_places

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Fewest groups of patches that can be held out in turn with some left to fit and to choose weights.
FEWEST_GROUPS = 4
FEWEST_PATCHES = 16
REPEATED_FRACTION = 1e-3


@dataclass(frozen=True)
class FrameSource:
    """Frames to score: where they are read from, how many, and their size.

    ``frames`` is an array (n_frames, height, width), or the references that are read one at a time.
    """

    frames: NDArray[Any] | tuple[FrameReference, ...]
    names: tuple[str, ...]
    shape: tuple[int, int]

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the frames in order."""
        if isinstance(self.frames, tuple):
            yield from iterate_frames(self.frames)
        else:
            yield from self.frames


@dataclass(frozen=True)
class Measurements:
    """Patches of the frames with what the entropies need.

    Parameters
    ----------
    patches : PatchSet
        ``frame_index`` is the group: patches that are held out together.
    positions : ndarray (n_patches, 3)
        Frame, row and column of each patch.
    n_frames, n_groups : int
    saturated_fraction : float
        Share of pixels at the highest code.
    example : ndarray (height, width)
        The first frame.
    """

    patches: PatchSet
    positions: IntArray
    n_frames: int
    n_groups: int
    saturated_fraction: float
    example: NDArray[Any]


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
    """Frames in files and folders (every supported image in a folder, by name), stacks page by page.

    Raises
    ------
    PhotonbitsError
        If a path does not exist, a file cannot be read, no frame is found, or shapes differ.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files.extend(_expand(path))
    references: list[FrameReference] = []
    names: list[str] = []
    shape: tuple[int, int] | None = None
    first: Path | None = None
    for file in files:
        info = describe_file(file)
        if shape is None:
            shape, first = info.shape, file
        elif info.shape != shape:
            raise PhotonbitsError(
                f"frames of shape {info.shape}",
                where=file,
                legal=f"{shape}, as in {first}",
                remedy="Score one size at a time",
            )
        for page in range(info.n_frames):
            references.append(FrameReference(file, page))
            names.append(file.name if info.n_frames == 1 else f"{file.name}[{page}]")
    if shape is None:
        raise PhotonbitsError("no frames", where=", ".join(map(str, paths)), legal="raw frames, or a folder of them")
    return FrameSource(tuple(references), tuple(names), shape)


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        found = sorted((file for file in files if reader_by_suffix(file) is not None), key=natural_key)
        if not found:
            suffixes = sorted(suffix for known in list_readers().values() for suffix in known)
            raise PhotonbitsError(f"no frames in folder {path}", legal=f"files ending in {', '.join(suffixes)}")
        return found
    if not path.exists() and any(letter in path.name for letter in "*?["):
        found = sorted(path.parent.glob(path.name), key=natural_key)  # shells that do not expand patterns
        if found:
            return found
    if not path.exists():
        raise PhotonbitsError(f"no such file or folder: {path}", legal="raw frames, or a folder of them")
    return [path]


def cut_patches(
    source: FrameSource,
    model: NoiseModel,
    *,
    patch_size: int,
    seed: int,
    max_patches: int,
    places: PatchPlaces | None = None,
) -> Measurements:
    """Cut square patches from every frame, side by side; a random share of them where there are many.

    ``places`` are those of `patch_places` unless others are given: cameras that are compared share theirs.

    Raises
    ------
    PhotonbitsError
        If frames do not fit the maps, the bit depth or the clips, are not integer codes where the model has a bit
        depth, or give too few patches.
    """
    n_frames = source.n_frames
    places = patch_places(source.shape, [model], patch_size) if places is None else places
    if n_frames * places.size < FEWEST_PATCHES:
        raise PhotonbitsError(
            f"{n_frames * places.size} patches of {patch_size} x {patch_size} from {n_frames} frames"
            + (" (those with stuck or cold pixels left out)" if places.size < places.all else ""),
            legal=f"{FEWEST_PATCHES} or more",
            remedy="Use more frames, larger ones, or a smaller --patch-size",
        )
    quota = min(places.size, max(1, -(-max_patches // n_frames)))
    codes: list[NDArray[Any]] = []
    cut_at: list[IntArray] = []
    clipped = pixels = 0
    example: NDArray[Any] | None = None
    for number, frame in enumerate(track(source, "Reading frames", total=n_frames)):
        _check_frame(frame, source, number, model)
        example = frame if example is None else example
        rng = np.random.default_rng([seed, number])
        every = np.arange(places.size)
        chosen = np.sort(rng.permutation(every)[:quota]) if quota < places.size else every
        row, column = places.row[chosen], places.column[chosen]
        cut = np.stack([frame[r : r + patch_size, c : c + patch_size] for r, c in zip(row, column, strict=True)])
        codes.append(cut)
        cut_at.append(np.stack([np.full(row.size, number), row, column], axis=1))
        if model.bit_depth is not None:
            clipped += int(np.count_nonzero(cut == model.camera.white_clip_dn))
            pixels += cut.size
    if example is None:
        raise PhotonbitsError("no frames", legal="one frame or more")
    positions = np.concatenate(cut_at).astype(np.int64)
    groups = _groups(positions, n_frames, source.shape)
    everything = np.concatenate(codes)
    if model.bit_depth is None and model.camera.kind != "poisson":
        _refuse_codes_in_disguise(everything)
    maps = model.maps or {}
    offset_plane = maps.get("offset_dn", _channel_plane(model, "offset_dn", source.shape))
    response_plane = None if "prnu" not in maps else 1.0 + maps["prnu"]
    gain_plane = _channel_plane(model, "system_gain_dn_per_e", source.shape)
    if gain_plane is not None:
        relative = gain_plane / float(model.camera.system_gain_dn_per_e)
        response_plane = relative if response_plane is None else relative * response_plane
    offset = None if offset_plane is None else crop_to_patches(offset_plane, positions, patch_size)
    response = None if response_plane is None else crop_to_patches(response_plane, positions, patch_size)
    lattice = _lattice(model)
    patches = PatchSet(
        codes=everything,
        frame_index=groups,
        noise_variance_dn2=_mean_noise_variance(model, everything),
        offset_dn=float(model.camera.offset_dn) if offset is None else offset,
        relative_response=1.0 if response is None else np.maximum(response, 0.05),
        black_clip_dn=float(model.camera.black_clip_dn) if model.bit_depth is not None else None,
        white_clip_dn=float(model.camera.white_clip_dn) if model.bit_depth is not None else None,
        lattice_dn=lattice,
    )
    return Measurements(patches, positions, n_frames, int(np.unique(groups).size), clipped / max(pixels, 1), example)


def _channel_plane(model: NoiseModel, name: str, shape: tuple[int, int]) -> FloatArray | None:
    """A camera scalar of every pixel's channel, (height, width); None for a sensor without channels."""
    if model.channel_layout is None:
        return None
    plane = np.empty(shape)
    for channel, section in model.channel_layout.sections.items():
        plane[section.index] = getattr(model.channel(channel).camera, name)
    return plane


def _groups(positions: IntArray, n_frames: int, shape: tuple[int, int]) -> IntArray:
    """Frames, or quarters (ninths) of frames where there are too few frames to hold some out."""
    if n_frames >= FEWEST_GROUPS:
        return positions[:, 0].copy()
    parts = 2 if n_frames > 1 else 3
    row = positions[:, 1] * parts // shape[0]
    column = positions[:, 2] * parts // shape[1]
    labels = (positions[:, 0] * parts + row) * parts + column
    return np.asarray(np.unique(labels, return_inverse=True)[1].ravel(), dtype=np.int64)


def _check_frame(frame: NDArray[Any], source: FrameSource, number: int, model: NoiseModel) -> None:
    where = source.names[number]
    if frame.shape != source.shape:
        raise PhotonbitsError(f"frame of shape {frame.shape}", where=where, legal=f"{source.shape}")
    if not np.issubdtype(frame.dtype, np.integer) and not np.all(np.isfinite(frame)):
        bad = int(np.count_nonzero(~np.isfinite(frame)))
        raise PhotonbitsError(f"{bad} pixels are NaN or infinite", where=where, legal="finite numbers")
    if model.bit_depth is None:
        if model.camera.kind != "poisson" and np.issubdtype(frame.dtype, np.integer):
            raise PhotonbitsError(
                f"integer codes ({frame.dtype}) with a noise model without a bit depth",
                where=where,
                legal="real values, or a noise model that says how many bits the codes have",
                remedy="State bit_depth in the captures' manifest and fit again",
            )
        return
    if not np.issubdtype(frame.dtype, np.integer):
        raise PhotonbitsError(
            f"frames of type {frame.dtype} with a {model.bit_depth}-bit noise model",
            where=where,
            legal="integer codes as the camera gave them",
            remedy="Score raw frames: dark-subtracted, scaled or averaged ones have another noise",
        )
    low, high = model.camera.black_clip_dn, model.camera.white_clip_dn
    if int(frame.min()) < low or int(frame.max()) > high:
        raise PhotonbitsError(
            f"codes from {int(frame.min())} to {int(frame.max())}",
            where=where,
            legal=f"{low} to {high}, the noise model's range",
            remedy="Use the noise model of this camera and setting",
        )


def _refuse_codes_in_disguise(values: NDArray[Any]) -> None:
    """Real-valued noise almost never repeats: values that do are codes, and their differential entropy is -infinity."""
    repeated = 1.0 - np.unique(values).size / values.size
    if repeated > REPEATED_FRACTION:
        raise PhotonbitsError(
            f"{100 * repeated:.2g} % of the measurements repeat another one's value",
            legal=f"{100 * REPEATED_FRACTION:g} % or less for real-valued measurements",
            remedy="Score the integer codes with a noise model that has a bit depth",
        )


def _lattice(model: NoiseModel) -> float | None:
    if model.bit_depth is not None:
        return 1.0
    return float(model.camera.system_gain_dn_per_e) if model.camera.kind == "poisson" else None


def _mean_noise_variance(model: NoiseModel, codes: NDArray[Any]) -> float:
    """Temporal noise variance at the mean light, DN^2; the scale that densities floor their spectra with."""
    camera = model.camera
    gain = float(camera.system_gain_dn_per_e)
    signal = max(float(np.mean(codes, dtype=np.float64)) - float(camera.offset_dn), 0.0)
    shot = 0.0 if camera.kind == "gaussian" else gain * float(camera.response.inverse(np.array(signal)))
    slope = float(camera.response.derivative(np.array(signal)))
    rounding = 1.0 / 12.0 if model.bit_depth is not None else 0.0
    noise = slope**2 * (shot + (gain * float(camera.read_noise_e)) ** 2) + rounding
    return float(noise) if np.isfinite(noise) and noise > 0 else max(rounding, 1e-12)
