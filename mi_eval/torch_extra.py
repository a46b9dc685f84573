"""torch where it is installed, a remedy where it is not: what the differentiable modules import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from calibrate import PhotonbitsError

__all__ = ["Tensor", "torch"]

try:
    import torch
except ImportError as error:
    raise PhotonbitsError(
        "torch is not installed, which imaging systems and their design need",
        remedy='Install it with pip install "photonbits[torch]"',
    ) from error

if TYPE_CHECKING:
    Tensor = Any
else:
    Tensor = torch.Tensor
