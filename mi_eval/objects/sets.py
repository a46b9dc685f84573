"""Photographs: sets that ship inside packages (extra `objects`), and the user's own folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from calibrate import PhotonbitsError
from calibrate.captures import FrameReference
from calibrate.captures.folder import walk_files
from calibrate.frames import describe_file, iterate_frames, reader_by_suffix
from mi_eval.objects.crops import CroppedImages, Crops
from mi_eval.objects.prior import FloatArray, IntArray, require

_PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".bmp")
_FITS = tuple(f".{name}{packed}" for name in ("fits", "fit", "fts") for packed in ("", ".gz"))
_PICTURES = (*_PHOTOGRAPHS, ".tif", ".tiff", ".npy", *_FITS)


@dataclass(frozen=True)
class ImageSet(CroppedImages):
    """Random crops of an image set inside an installed package, turned and mirrored at random.

    Parameters
    ----------
    name : str
        One of `IMAGE_SETS`.
    shrink : int
        Images are averaged over squares of this side first: finer detail on the same pixels.
    upright : bool
        Neither turn nor mirror: for objects that mean something else on their side.
    """

    kind: ClassVar[str] = "images"

    name: str
    shrink: int = 1
    upright: bool = False

    def __post_init__(self) -> None:
        require(self.kind, ", ".join(IMAGE_SETS), self.name in IMAGE_SETS, name=self.name)
        require(self.kind, "1 or more", self.shrink >= 1, shrink=self.shrink)

    def images(self) -> tuple[FloatArray, ...]:
        """The images, (height, width) or (height, width, 3), between 0 and 1."""
        return _loaded(self.name)

    @property
    def crops(self) -> Crops:
        """How they are cut."""
        return Crops(self.shrink, self.upright, f"image set {self.name}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Of the sets in `LABELLED_SETS`."""
        return LABELLED_SETS[self.name][1] if self.name in LABELLED_SETS else ()

    def labels(self) -> IntArray | None:
        """Class of every image; None without classes."""
        return _labels(self.name) if self.name in LABELLED_SETS else None

    def describe(self) -> str:
        """Say which photographs these are."""
        count = len(self.images())
        return (
            f"{IMAGE_SETS[self.name][1]} ({count} image{'s' if count > 1 else ''}): "
            f"random crops{_upright(self.upright)}{_shrunk(self.shrink)}."
        )


@dataclass(frozen=True)
class Folder(CroppedImages):
    """Random crops of the images in a folder, turned and mirrored at random.

    Parameters
    ----------
    path : str
        Of the folder; its subfolders are read too. Values are scaled so that the largest of all images is 1; black is
        taken as 0.
    shrink, upright
        As in `ImageSet`.
    """

    kind: ClassVar[str] = "folder"

    path: str
    shrink: int = 1
    upright: bool = False

    def __post_init__(self) -> None:
        require(self.kind, "1 or more", self.shrink >= 1, shrink=self.shrink)

    def images(self) -> tuple[FloatArray, ...]:
        """The images between 0 and 1."""
        return _read_folder(self.path)

    @property
    def crops(self) -> Crops:
        """How they are cut."""
        return Crops(self.shrink, self.upright, f"folder {self.path}")

    def describe(self) -> str:
        """Say which photographs these are."""
        return (
            f"{len(self.images())} images of the folder {Path(self.path).name}: "
            f"random crops{_upright(self.upright)}{_shrunk(self.shrink)}."
        )


def _shrunk(shrink: int) -> str:
    return "" if shrink == 1 else f", averaged over {shrink} x {shrink} pixels first"


def _upright(upright: bool) -> str:
    return ", upright" if upright else ""


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


def _faces_or_not() -> list[Any]:
    return list(_need("scikit-image", "skimage.data").lfw_subset())


def _faces() -> list[Any]:
    return _faces_or_not()[:100]  # the second half of the set is not faces


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
    "faces_or_not": (_faces_or_not, "Faces and other pictures of 25 x 25 pixels, scikit-image"),
    "stars": (_skimage("hubble_deep_field"), "Hubble deep field, scikit-image"),
    "textures": (_skimage("brick", "grass", "gravel"), "Photographs of brick, grass and gravel, scikit-image"),
    "colour": (_skimage("astronaut", "coffee", "chelsea"), "Colour photographs, scikit-image"),
    "vessels": (_skimage("microaneurysms"), "Retina with microaneurysms, scikit-image"),
    "digits": (_digits, "Handwritten digits, scikit-learn"),
    "scenes": (_scenes, "Colour photographs of a temple and a flower, scikit-learn"),
    "wavelets": (_wavelets, "Photographs ascent, aero and camera, PyWavelets"),
}


def _digit_labels() -> Any:
    return _need("scikit-learn", "sklearn.datasets").load_digits().target


def _face_labels() -> Any:
    return np.repeat([1, 0], 100)


#: Name of a set whose images have classes: their numbers, and their names.
LABELLED_SETS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "digits": (_digit_labels, tuple("0123456789")),
    "faces_or_not": (_face_labels, ("no face", "face")),
}


@cache
def _labels(name: str) -> IntArray:
    return np.asarray(LABELLED_SETS[name][0](), dtype=np.int64)


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
    files = [file for file in walk_files(folder) if file.name.lower().endswith(_PICTURES)]
    if not files:
        raise PhotonbitsError(f"no images in folder {path}", legal=f"files ending in {', '.join(_PICTURES)}")
    return _scaled([image for file in files for image in _read(file)])


def _read(file: Path) -> list[Any]:
    if reader_by_suffix(file) is not None and file.suffix.lower() not in _PHOTOGRAPHS:
        info = describe_file(file)
        return list(iterate_frames(tuple(FrameReference(file, page) for page in range(info.n_frames))))
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            mode = "L" if image.mode in ("1", "L", "P", "LA") else "RGB"
            return [np.asarray(image if image.mode.startswith("I") else image.convert(mode))]
    except (OSError, UnidentifiedImageError) as error:
        raise PhotonbitsError(f"{file} cannot be read as an image", legal="PNG, JPEG, TIFF, FITS or NPY") from error
