"""From raw frames to patches: positions, per-pixel noise parameters, and the groups that are held out together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrate import NoiseModel, PhotonbitsError
from calibrate.plumbing.progress import track
from mi_eval.density import PatchSet, place_classes
from mi_eval.density.camera import camera_table
from mi_eval.frame_source import FrameSource, Region, frames_from_array, frames_from_paths
from mi_eval.patch_places import PatchPlaces, crop_to_patches, patch_places
from mi_eval.pixel_planes import pixel_planes
from mi_eval.scenes import Thumbnails, block_means, block_side

__all__ = ["FrameSource", "Measurements", "cut_patches", "frames_from_array", "frames_from_paths"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Fewest groups of patches that can be held out in turn with some left to fit and to choose weights.
FEWEST_GROUPS = 4
FEWEST_PATCHES = 16
REPEATED_FRACTION = 1e-3


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
    n_scenes : int or None
        Different scenes among the frames; None where nobody looked.
    example : ndarray (height, width)
        The first frame.
    thumbnails : Thumbnails
        Light of all frames in blocks.
    """

    patches: PatchSet
    positions: IntArray
    n_frames: int
    n_groups: int
    saturated_fraction: float
    example: NDArray[Any]
    thumbnails: Thumbnails
    n_scenes: int | None = None


def cut_patches(
    source: FrameSource,
    model: NoiseModel,
    *,
    patch_size: int,
    seed: int,
    max_patches: int,
    places: PatchPlaces | None = None,
    exposed: Region | None = None,
    exposure_s: float | None = None,
    scene: IntArray | None = None,
) -> Measurements:
    """Cut square patches from every frame, side by side; a random share of them where there are many.

    ``places`` are those of `patch_places` (within ``exposed``, default everywhere) unless others are given: cameras
    that are compared share theirs. With the exposure, the pattern of the dark current is no scene. ``scene``
    (n_frames,) numbers the scenes of the frames, default one each: what shows one scene is held out together.

    Raises
    ------
    PhotonbitsError
        If frames do not fit the maps, the bit depth or the clips, are not integer codes where the model has a bit
        depth, or give too few patches.
    """
    n_frames = source.n_frames
    places = patch_places(source.shape, [model], patch_size, exposed) if places is None else places
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
    view = _view(source.shape, exposed, places.period)
    block = block_side((view[0].stop - view[0].start, view[1].stop - view[1].start), places.period)
    small: list[FloatArray] = []
    for number, frame in enumerate(track(source, "Reading frames", total=n_frames)):
        _check_frame(frame, source, number, model)
        example = frame if example is None else example
        small.append(block_means(frame[view], block))
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
    groups = _groups(positions, np.arange(n_frames) if scene is None else scene, source.shape)
    n_scenes = None if scene is None else int(np.unique(scene).size)
    everything = np.concatenate(codes)
    if model.bit_depth is None and model.camera.kind != "poisson":
        _refuse_codes_in_disguise(everything)
    offset_plane, response_plane = pixel_planes(model, source.shape, exposure_s)
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
        camera=camera_table(
            model,
            float(everything.min()),
            float(everything.max()),
            own_cells=offset is not None or response is not None,
        ),
        place_class=place_classes(patch_size, places.period),
    )
    return Measurements(
        patches=patches,
        positions=positions,
        n_frames=n_frames,
        n_groups=int(np.unique(groups).size),
        saturated_fraction=clipped / max(pixels, 1),
        example=example,
        n_scenes=n_scenes,
        thumbnails=_thumbnails(
            model,
            np.stack(small),
            block,
            None if offset_plane is None else offset_plane[view],
            None if response_plane is None else response_plane[view],
        ),
    )


def _view(shape: tuple[int, int], exposed: Region | None, period: tuple[int, int]) -> tuple[slice, slice]:
    """The exposed part of a frame, from the start of a colour period."""
    top, bottom, left, right = exposed or (0, shape[0], 0, shape[1])
    return slice(-(-top // period[0]) * period[0], bottom), slice(-(-left // period[1]) * period[1], right)


def _thumbnails(
    model: NoiseModel,
    means_dn: FloatArray,
    block: tuple[int, int],
    offset_plane: FloatArray | None,
    response_plane: FloatArray | None,
) -> Thumbnails:
    """Block means of codes as light; a gain or offset that alternates inside a block is averaged with it."""
    noise = _noise_variance(model, means_dn) / (block[0] * block[1])
    offset = float(model.camera.offset_dn) if offset_plane is None else block_means(_known(offset_plane), block)
    response = 1.0 if response_plane is None else np.maximum(block_means(_known(response_plane), block), 0.05)
    return Thumbnails((means_dn - offset) / response, noise / response**2)


def _known(plane: FloatArray) -> FloatArray:
    """A map with its mean where it is not known."""
    return np.asarray(np.where(np.isfinite(plane), plane, np.nanmean(plane)))


def _groups(positions: IntArray, scene: IntArray, shape: tuple[int, int]) -> IntArray:
    """Scenes, or quarters (ninths) of scenes where there are too few of them to hold some out."""
    number = scene[positions[:, 0]]
    n_scenes = np.unique(scene).size
    if n_scenes >= FEWEST_GROUPS:
        return np.asarray(number, dtype=np.int64)
    parts = 2 if n_scenes > 1 else 3
    row = positions[:, 1] * parts // shape[0]
    column = positions[:, 2] * parts // shape[1]
    labels = (number * parts + row) * parts + column
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
    return float(_noise_variance(model, np.array(np.mean(codes, dtype=np.float64))))


def _noise_variance(model: NoiseModel, mean_dn: FloatArray) -> FloatArray:
    """Temporal noise variance at these mean codes, DN^2."""
    camera = model.camera
    gain = float(camera.system_gain_dn_per_e)
    signal = np.maximum(mean_dn - float(camera.offset_dn), 0.0)
    shot = 0.0 if camera.kind == "gaussian" else gain * camera.response.inverse(signal)
    slope = camera.response.derivative(signal)
    rounding = 1.0 / 12.0 if model.bit_depth is not None else 0.0
    with np.errstate(invalid="ignore"):  # beyond the full well
        noise = slope**2 * (shot + (gain * float(camera.read_noise_e)) ** 2) + rounding
    return np.asarray(np.where(np.isfinite(noise) & (noise > 0), noise, max(rounding, 1e-12)), dtype=np.float64)
