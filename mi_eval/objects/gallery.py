"""A gallery: every image of a set is a class of its own, seen shifted and mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from calibrate import PhotonbitsError
from mi_eval.objects.crops import averaged
from mi_eval.objects.prior import FloatArray, IntArray, ObjectPrior, Shape, require
from mi_eval.objects.sets import IMAGE_SETS, ImageSet


@dataclass(frozen=True)
class Gallery(ObjectPrior):
    """Closed-set recognition: which of these images is it? Any view of any image is as likely.

    A view is the middle of an image, shifted by up to ``shift_px`` pixels along rows and columns, mirrored or not. The
    views are finitely many, so that information (`mi_eval.design.enumerated_information`) and the best possible
    recognition can be found by going through them. In several planes, each view may lie in any one.

    Parameters
    ----------
    name : str
        One of the sets of `ImageSet`; its images have one size.
    count : int
        Images, the first of the set.
    shift_px : int
        Largest shift.
    mirror : bool
    shrink : int
        Images are averaged over squares of this side first.
    """

    kind: ClassVar[str] = "gallery"
    periodic: ClassVar[bool] = False

    name: str
    count: int = 100
    shift_px: int = 1
    mirror: bool = True
    shrink: int = 1

    def __post_init__(self) -> None:
        require(self.kind, ", ".join(IMAGE_SETS), self.name in IMAGE_SETS, name=self.name)
        ok = self.count >= 2 and self.shift_px >= 0 and self.shrink >= 1
        legal = "2 images or more, shift 0 or more, shrink 1 or more"
        require(self.kind, legal, ok, count=self.count, shift_px=self.shift_px, shrink=self.shrink)

    @property
    def classes(self) -> tuple[str, ...]:
        """One for each image."""
        return tuple(f"{self.name} {number}" for number in range(self.count))

    def population(self, shape: Shape) -> FloatArray:
        """Every view of every image in every plane, (n, planes, height, width).

        Raises
        ------
        PhotonbitsError
            If the set has fewer images, or shifts would leave them.
        """
        images = ImageSet(self.name, shrink=self.shrink).images()
        if len(images) < self.count:
            raise PhotonbitsError(f"{self.count} images of {self.name}", legal=f"2 to {len(images)}")
        views = [v for image in images[: self.count] for v in self._of_one(averaged(image, self.shrink), shape)]
        planes = np.eye(shape[0])[:, :, None, None]
        return np.asarray((np.array(views)[:, None, None] * planes).reshape(-1, *shape))

    def labels(self, shape: Shape) -> IntArray:
        """Number of the image that each object of `population` shows, (n,)."""
        views = (2 * self.shift_px + 1) ** 2 * (2 if self.mirror else 1) * shape[0]
        return np.repeat(np.arange(self.count), views)

    def _of_one(self, image: FloatArray, shape: Shape) -> list[FloatArray]:
        image = image if image.ndim == 2 else image.mean(axis=2)
        height, width = shape[1:]
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        reach = range(-self.shift_px, self.shift_px + 1)
        fits = [low - self.shift_px >= 0 for low in (top, left)]
        fits += [top + height + self.shift_px <= image.shape[0], left + width + self.shift_px <= image.shape[1]]
        if not all(fits):
            raise PhotonbitsError(
                f"objects of {height} x {width} pixels shifted by {self.shift_px}",
                where=f"gallery of {self.name}",
                legal=f"inside the images of {image.shape[0]} x {image.shape[1]}",
            )
        crops = [
            image[top + down : top + down + height, left + right : left + right + width]
            for down in reach
            for right in reach
        ]
        return crops + [crop[:, ::-1] for crop in crops] if self.mirror else crops

    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Objects of `population`, drawn evenly."""
        return self.sample_labelled(n, shape, rng)[0]

    def sample_labelled(self, n: int, shape: Shape, rng: np.random.Generator) -> tuple[FloatArray, IntArray | None]:
        """Views, and the numbers of their images."""
        population = self.population(shape)
        drawn = rng.integers(len(population), size=n)
        return population[drawn], self.labels(shape)[drawn]

    def describe(self) -> str:
        """Say what the gallery is."""
        return (
            f"A gallery of {self.count} images ({IMAGE_SETS[self.name][1]}), each as likely, shifted by up to "
            f"{self.shift_px} px{' and mirrored at random' if self.mirror else ''}; the class is the image."
        )
