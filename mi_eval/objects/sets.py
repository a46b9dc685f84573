"""Crops of photographs: sets that ship inside packages (extra `objects`), and the user's own folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from calibrate import PhotonbitsError
from calibrate.captures import FrameReference
from calibrate.captures.names import natural_key
from calibrate.frames import describe_file, iterate_frames, reader_by_suffix
from mi_eval.objects.prior import FloatArray, ObjectPrior, Shape, in_random_planes, require

_PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".npy", ".fits", ".fit")


@dataclass(frozen=True)
class ImageSet(ObjectPrior):
    """Random crops of an image set inside an installed package, turned and mirrored at random.

    Parameters
    ----------
    name : str
        One of `IMAGE_SETS`.
    shrink : int
        Images are averaged over squares of this side first: finer detail on the same pixels.
    """

    kind: ClassVar[str] = "images"
    periodic: ClassVar[bool] = False

    name: str
    shrink: int = 1

    def __post_init__(self) -> None:
        require(self.kind, ", ".join(IMAGE_SETS), self.name in IMAGE_SETS, name=self.name)
        require(self.kind, "1 or more", self.shrink >= 1, shrink=self.shrink)

    def images(self) -> tuple[FloatArray, ...]:
        """The images, (height, width) or (height, width, 3), between 0 and 1."""
        return _loaded(self.name)

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Crops; grey ones each in a plane drawn at random, coloured ones spread over the bands."""
        return _crops(self.images(), n, shape, self.shrink, rng, f"image set {self.name}")

    def describe(self) -> str:
        """Say which photographs these are."""
        count = len(self.images())
        return (
            f"{IMAGE_SETS[self.name][1]} ({count} image{'s' if count > 1 else ''}): random crops{_shrunk(self.shrink)}."
        )


@dataclass(frozen=True)
class Folder(ObjectPrior):
    """Random crops of the images in a folder, turned and mirrored at random.

    Parameters
    ----------
    path : str
        Of the folder. Values are scaled so that the largest of all images is 1; black is taken as 0.
    shrink : int
        As in `ImageSet`.
    """

    kind: ClassVar[str] = "folder"
    periodic: ClassVar[bool] = False

    path: str
    shrink: int = 1

    def __post_init__(self) -> None:
        require(self.kind, "1 or more", self.shrink >= 1, shrink=self.shrink)

    def images(self) -> tuple[FloatArray, ...]:
        """The images between 0 and 1."""
        return _read_folder(self.path)

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Crops; grey ones each in a plane drawn at random, coloured ones spread over the bands."""
        return _crops(self.images(), n, shape, self.shrink, rng, f"folder {self.path}")

    def describe(self) -> str:
        """Say which photographs these are."""
        return f"{len(self.images())} images of the folder {Path(self.path).name}: random crops{_shrunk(self.shrink)}."


def _shrunk(shrink: int) -> str:
    return "" if shrink == 1 else f", averaged over {shrink} x {shrink} pixels first"


def _crops(
    images: tuple[FloatArray, ...], n: int, shape: Shape, shrink: int, rng: np.random.Generator, where: str
) -> FloatArray:
    planes, height, width = shape
    small = [_averaged(image, shrink) for image in images]
    fits = [image for image in small if min(image.shape[:2]) >= max(height, width)]
    if not fits:
        raise PhotonbitsError(
            f"objects of {height} x {width} pixels",
            where=where,
            legal=f"at most {max(min(image.shape[:2]) for image in small)}, the images' smaller side",
            remedy="Use smaller objects or a smaller shrink",
        )
    side = max(height, width)
    grey, coloured = np.zeros((n, height, width)), np.zeros((n, planes, height, width))
    colour = planes >= 3 and all(image.ndim == 3 for image in fits)
    for i in range(n):
        image = fits[rng.integers(len(fits))]
        row, column = (int(rng.integers(extent - side + 1)) for extent in image.shape[:2])
        crop = np.rot90(image[row : row + side, column : column + side], int(rng.integers(4)))
        crop = (crop[:, ::-1] if rng.random() < 0.5 else crop)[:height, :width]
        if colour:
            coloured[i] = _bands(crop, planes)
        else:
            grey[i] = crop if crop.ndim == 2 else crop.mean(axis=2)
    return coloured if colour else in_random_planes(grey, planes, rng)


def _averaged(image: FloatArray, side: int) -> FloatArray:
    if side == 1:
        return image
    height, width = (extent // side for extent in image.shape[:2])
    blocks = image[: height * side, : width * side].reshape(height, side, width, side, *image.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)))


def _bands(crop: FloatArray, planes: int) -> FloatArray:
    """Blue, green and red interpolated over the bands, short wavelengths first; all bands together at most 1."""
    place = np.linspace(0, 2, planes)
    weight = np.maximum(1 - np.abs(place[:, None] - np.arange(3)), 0.0)
    return np.asarray(np.einsum("bc,hwc->bhw", weight, crop[:, :, ::-1]) / planes)


# ---- sets inside packages -------------------------------------------------------------------------------------


def _need(package: str, module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise PhotonbitsError(
            f"{package} is not installed, which this image set is part of",
            remedy='Install it with pip install "photonbits[objects]"',
        ) from error


def _skimage(*names: str) -> Callable[[], list[Any]]:
    def load() -> list[Any]:
        data = _need("scikit-image", "skimage.data")
        return [getattr(data, name)() for name in names]

    return load


def _faces() -> list[Any]:
    data = _need("scikit-image", "skimage.data")
    return list(data.lfw_subset()[:100])  # the second half of the set is not faces


def _digits() -> list[Any]:
    data = _need("scikit-learn", "sklearn.datasets").load_digits().images
    # 8 x 8 pixels: each repeated, so that a digit fills 24 x 24.
    return [np.kron(digit, np.ones((3, 3))) for digit in data]


def _scenes() -> list[Any]:
    return list(_need("scikit-learn", "sklearn.datasets").load_sample_images().images)


def _wavelets() -> list[Any]:
    data = _need("PyWavelets", "pywt.data")
    return [data.ascent(), data.aero(), data.camera()]


#: Name: loader, and what it holds. All of them lie inside the packages: nothing is fetched.
IMAGE_SETS: dict[str, tuple[Callable[[], list[Any]], str]] = {
    "camera": (_skimage("camera"), "Photograph of a cameraman, scikit-image"),
    "cell": (_skimage("cell"), "Phase image of a cell, scikit-image"),
    "coins": (_skimage("coins"), "Photograph of coins, scikit-image"),
    "faces": (_faces, "Faces of 25 x 25 pixels, scikit-image"),
    "stars": (_skimage("hubble_deep_field"), "Hubble deep field, scikit-image"),
    "textures": (_skimage("brick", "grass", "gravel"), "Photographs of brick, grass and gravel, scikit-image"),
    "colour": (_skimage("astronaut", "coffee", "chelsea"), "Colour photographs, scikit-image"),
    "vessels": (_skimage("microaneurysms"), "Retina with microaneurysms, scikit-image"),
    "digits": (_digits, "Handwritten digits, scikit-learn"),
    "scenes": (_scenes, "Colour photographs of a temple and a flower, scikit-learn"),
    "wavelets": (_wavelets, "Photographs ascent, aero and camera, PyWavelets"),
}


@cache
def _loaded(name: str) -> tuple[FloatArray, ...]:
    return _scaled([np.asarray(image) for image in IMAGE_SETS[name][0]()])


def _scaled(images: list[Any]) -> tuple[FloatArray, ...]:
    """Images between 0 and 1: the largest value of all of them is 1."""
    top = max(float(np.max(image)) for image in images)
    if not top > 0:
        raise PhotonbitsError("images without light", legal="a largest value above 0")
    return tuple(np.maximum(np.asarray(image, dtype=np.float64) / top, 0.0) for image in images)


@cache
def _read_folder(path: str) -> tuple[FloatArray, ...]:
    folder = Path(path)
    if not folder.is_dir():
        raise PhotonbitsError(f"no such folder: {path}", legal="a folder of images")
    files = sorted((f for f in folder.iterdir() if f.suffix.lower() in _PICTURES), key=natural_key)
    if not files:
        raise PhotonbitsError(f"no images in folder {path}", legal=f"files ending in {', '.join(_PICTURES)}")
    return _scaled([image for file in files for image in _read(file)])


def _read(file: Path) -> list[Any]:
    if reader_by_suffix(file) is not None and file.suffix.lower() not in (".png", ".jpg", ".jpeg", ".bmp"):
        info = describe_file(file)
        return list(iterate_frames(tuple(FrameReference(file, page) for page in range(info.n_frames))))
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            mode = "L" if image.mode in ("1", "L", "P", "LA") else "RGB"
            return [np.asarray(image if image.mode.startswith("I") else image.convert(mode))]
    except (OSError, UnidentifiedImageError) as error:
        raise PhotonbitsError(f"{file} cannot be read as an image", legal="PNG, JPEG, TIFF, FITS or NPY") from error
