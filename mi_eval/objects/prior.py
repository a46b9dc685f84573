"""What every source of objects can do: draw them, and say in words what they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from calibrate import PhotonbitsError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Shape = tuple[int, int, int]
#: What objects are drawn for; sets of images give each of them other images.
Part = Literal["training", "validation", "test"]


class ObjectPrior(ABC):
    """A frozen dataclass: a population of objects.

    Objects are arrays (n, planes, height, width); planes are depths or spectral bands, as the system takes them.
    Values lie between 0 and 1, except for signed priors, which have mean 0 and variance 1.
    """

    kind: ClassVar[str]
    signed: ClassVar[bool] = False
    #: Opposite edges fit together, so that a circular convolution needs no margin.
    periodic: ClassVar[bool] = True

    @abstractmethod
    def sample(self, n: int, shape: Shape, rng: np.random.Generator) -> FloatArray:
        """Draw objects, (n, planes, height, width)."""

    @abstractmethod
    def describe(self) -> str:
        """The population in one or two sentences, for a report."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that `sample_labelled` tells apart; empty for objects without classes."""
        return ()

    def sample_labelled(self, n: int, shape: Shape, rng: np.random.Generator) -> tuple[FloatArray, IntArray | None]:
        """Draw objects, those of `sample`, and the number of each one's class (n,); None without classes."""
        return self.sample(n, shape, rng), None

    def part(self, name: Part) -> ObjectPrior:
        """The objects to train, validate or test a decoder with: the same population, disjoint where it is finite.

        Objects drawn by rule never repeat, and all parts are the prior itself.
        """
        return self

    def spectrum(self, shape: Shape) -> FloatArray | None:
        """Expected power spectrum (height, width), mean over frequencies = variance, where known; else None."""
        return None

    def population(self, shape: Shape) -> FloatArray | None:
        """Every object (n, planes, height, width), all equally likely, where the population is finite; else None."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Kind and fields as plain values; `make_prior` takes them back."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]


def in_random_planes(items: FloatArray, planes: int, rng: np.random.Generator) -> FloatArray:
    """Single-plane objects (n, h, w), each put into one plane drawn at random; (n, planes, h, w)."""
    out = np.zeros((items.shape[0], planes, *items.shape[1:]))
    out[np.arange(items.shape[0]), rng.integers(planes, size=items.shape[0])] = items
    return out


def require(kind: str, legal: str, ok: bool, **values: object) -> None:
    """Raise PhotonbitsError with the values unless ``ok``."""
    if not ok:
        text = ", ".join(f"{name} {value}" for name, value in values.items())
        raise PhotonbitsError(text, where=f"objects {kind}", legal=legal)
