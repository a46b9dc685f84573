"""Crops of images as objects, and disjoint parts of a set of images."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.objects.prior import FloatArray, IntArray, ObjectPrior, Part, Shape, in_random_planes

#: Where the parts of a set begin and end.
_SHARES: dict[Part, tuple[float, float]] = {"training": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}
_FEWEST_IMAGES = 10


@dataclass(frozen=True)
class Crops:
    """How images are cut.

    Parameters
    ----------
    shrink : int
        Images are averaged over squares of this side first.
    upright : bool
        Neither turn nor mirror.
    where : str
        The set, for messages.
    """

    shrink: int
    upright: bool
    where: str

    def draw(
        self, images: tuple[FloatArray, ...], n: int, shape: Shape, rng: np.random.Generator
    ) -> tuple[FloatArray, IntArray]:
        """Crops (n, planes, height, width), and the number of the image (n,) that each comes from.

        Grey crops lie each in a plane drawn at random, coloured ones are spread over the bands.
        """
        planes, height, width = shape
        side = max(height, width)
        small = [averaged(image, self.shrink) for image in images]
        fits = [number for number, image in enumerate(small) if min(image.shape[:2]) >= side]
        if not fits:
            raise PhotonbitsError(
                f"objects of {height} x {width} pixels",
                where=self.where,
                legal=f"at most {max(min(image.shape[:2]) for image in small)}, the images' smaller side",
                remedy="Use smaller objects or a smaller shrink",
            )
        grey, coloured = np.zeros((n, height, width)), np.zeros((n, planes, height, width))
        source = np.zeros(n, dtype=np.int64)
        colour = planes >= 3 and all(small[number].ndim == 3 for number in fits)
        for i in range(n):
            source[i] = fits[rng.integers(len(fits))]
            image = small[source[i]]
            row, column = (int(rng.integers(extent - side + 1)) for extent in image.shape[:2])
            crop = image[row : row + side, column : column + side]
            if not self.upright:
                crop = np.rot90(crop, int(rng.integers(4)))
                crop = crop[:, ::-1] if rng.random() < 0.5 else crop
            crop = crop[:height, :width]
            if colour:
                coloured[i] = _bands(crop, planes)
            else:
                grey[i] = crop if crop.ndim == 2 else crop.mean(axis=2)
        return (coloured if colour else in_random_planes(grey, planes, rng)), source


@dataclass(frozen=True)
class CroppedImages(ObjectPrior):
    """Random crops of images."""

    periodic: ClassVar[bool] = False

    @abstractmethod
    def images(self) -> tuple[FloatArray, ...]:
        """The images, (height, width) or (height, width, 3), between 0 and 1."""

    @property
    @abstractmethod
    def crops(self) -> Crops:
        """How they are cut."""

    def labels(self) -> IntArray | None:
        """Class of every image; None without classes."""
        return None

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Crops; grey ones each in a plane drawn at random, coloured ones spread over the bands."""
        return self.crops.draw(self.images(), n, shape, rng)[0]

    def sample_labelled(self, n: int, shape: Shape, rng: np.random.Generator) -> tuple[FloatArray, IntArray | None]:
        """Crops, and the class of the image that each comes from."""
        values, source = self.crops.draw(self.images(), n, shape, rng)
        labels = self.labels()
        return values, None if labels is None else labels[source]

    def part(self, name: Part) -> ObjectPrior:
        """The first 60, next 20 and last 20 % of the images of every class, in the order of the set.

        Of fewer than 10 images: of the columns of every image.
        """
        return ImagePart(self, name)


@dataclass(frozen=True)
class ImagePart(CroppedImages):
    """Crops of a part of the images of another set.

    Parameters
    ----------
    whole : CroppedImages
    name : {"training", "validation", "test"}
    """

    kind: ClassVar[str] = "part of images"

    whole: CroppedImages
    name: Part

    @property
    def crops(self) -> Crops:
        """Those of the set."""
        return Crops(self.whole.crops.shrink, self.whole.crops.upright, f"{self.whole.crops.where}, {self.name}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the set."""
        return self.whole.classes

    def images(self) -> tuple[FloatArray, ...]:
        """The images of this part, or the columns of every image."""
        images = self.whole.images()
        if len(images) >= _FEWEST_IMAGES:
            return tuple(images[i] for i in self._chosen())
        low, high = _SHARES[self.name]
        return tuple(image[:, round(low * image.shape[1]) : round(high * image.shape[1])] for image in images)

    def labels(self) -> IntArray | None:
        """Class of every image of this part."""
        labels = self.whole.labels()
        if labels is None or len(labels) < _FEWEST_IMAGES:
            return labels
        return labels[self._chosen()]

    def _chosen(self) -> IntArray:
        count, labels = len(self.whole.images()), self.whole.labels()
        classes = np.zeros(count, dtype=np.int64) if labels is None else labels
        low, high = _SHARES[self.name]
        members = [np.flatnonzero(classes == one) for one in np.unique(classes)]
        kept = [own[round(low * own.size) : round(high * own.size)] for own in members]
        return np.sort(np.concatenate(kept))

    def describe(self) -> str:
        """Say which part it is."""
        return f"The {self.name} part of: {self.whole.describe()}"

    def to_dict(self) -> dict[str, Any]:
        """The set's, and the name of the part."""
        return {**self.whole.to_dict(), "part": self.name}


def averaged(image: FloatArray, side: int) -> FloatArray:
    """Means over squares of this side; rows and columns left over are cut off."""
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
