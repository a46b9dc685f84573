"""Objects to image: generators, photographs that ship inside packages, and the user's own folder.

Examples
--------
>>> from mi_eval import objects
>>> "stars" in objects.OBJECT_KINDS
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from mi_eval.objects.gallery import Gallery
    from mi_eval.objects.generators import Beads, BlackHoles, Cells, Phantoms, Stars
    from mi_eval.objects.points import PointSource
    from mi_eval.objects.prior import ObjectPrior
    from mi_eval.objects.registry import OBJECT_KINDS, make_prior
    from mi_eval.objects.sets import Folder, ImageSet
    from mi_eval.objects.texture import GaussianTexture

__all__ = [
    "OBJECT_KINDS",
    "Beads",
    "BlackHoles",
    "Cells",
    "Folder",
    "Gallery",
    "GaussianTexture",
    "ImageSet",
    "ObjectPrior",
    "Phantoms",
    "PointSource",
    "Stars",
    "make_prior",
]

# Names are loaded at first use (PEP 562).
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "OBJECT_KINDS": "mi_eval.objects.registry",
        "Beads": "mi_eval.objects.generators",
        "BlackHoles": "mi_eval.objects.generators",
        "Cells": "mi_eval.objects.generators",
        "Folder": "mi_eval.objects.sets",
        "Gallery": "mi_eval.objects.gallery",
        "GaussianTexture": "mi_eval.objects.texture",
        "ImageSet": "mi_eval.objects.sets",
        "ObjectPrior": "mi_eval.objects.prior",
        "Phantoms": "mi_eval.objects.generators",
        "PointSource": "mi_eval.objects.points",
        "Stars": "mi_eval.objects.generators",
        "make_prior": "mi_eval.objects.registry",
    },
)
