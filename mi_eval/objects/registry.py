"""Object priors by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from calibrate import PhotonbitsError
from mi_eval.objects.emitter import Emitter
from mi_eval.objects.gallery import Gallery
from mi_eval.objects.generators import Beads, BlackHoles, Cells, Phantoms, Stars
from mi_eval.objects.points import PointSource
from mi_eval.objects.prior import ObjectPrior
from mi_eval.objects.sets import Folder, ImageSet
from mi_eval.objects.texture import GaussianTexture

#: Kind in configurations: class.
OBJECT_KINDS: dict[str, type[ObjectPrior]] = {
    cls.kind: cls
    for cls in (
        *(Beads, BlackHoles, Cells, Emitter, Folder, Gallery, GaussianTexture),
        *(ImageSet, Phantoms, PointSource, Stars),
    )
}


def make_prior(kind: str, options: Mapping[str, Any]) -> ObjectPrior:
    """An object prior from its kind and fields.

    Raises
    ------
    PhotonbitsError
        If the kind or a field is unknown, or a needed field is missing.
    """
    if kind not in OBJECT_KINDS:
        raise PhotonbitsError(f"objects of kind {kind!r}", legal=", ".join(OBJECT_KINDS))
    cls = OBJECT_KINDS[kind]
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise PhotonbitsError(f"{name!r} is no field of objects {kind}", legal=", ".join(known) or "none")
    missing = [name for name, field in known.items() if field.default is MISSING and name not in options]
    if missing:
        raise PhotonbitsError(f"objects {kind} lack {', '.join(missing)}")
    return cls(**options)
