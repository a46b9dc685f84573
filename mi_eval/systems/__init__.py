"""Imaging systems as differentiable functions of their physical parameters, one a file behind one protocol.

Examples
--------
>>> from mi_eval import systems
>>> "coded_aperture" in systems.SYSTEM_NAMES
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports
from mi_eval.systems.names import SYSTEM_NAMES

if TYPE_CHECKING:
    from mi_eval.systems.coded_aperture import CodedAperture
    from mi_eval.systems.exposed import ChosenExposure
    from mi_eval.systems.interferometer import Interferometer, InterferometerSchedule
    from mi_eval.systems.kernel import CircularKernel
    from mi_eval.systems.kspace import KSpaceSampling
    from mi_eval.systems.led_array import LedArray
    from mi_eval.systems.lens import Lens
    from mi_eval.systems.lenslet_array import LensletArray
    from mi_eval.systems.mosaic import ColourMosaic
    from mi_eval.systems.phase_mask import PhaseMask
    from mi_eval.systems.protocol import ImagingSystem, Limit, ParameterSpec
    from mi_eval.systems.registry import make_system, system_class
    from mi_eval.systems.saved import SystemDesign

__all__ = [
    "SYSTEM_NAMES",
    "ChosenExposure",
    "CircularKernel",
    "CodedAperture",
    "ColourMosaic",
    "ImagingSystem",
    "Interferometer",
    "InterferometerSchedule",
    "KSpaceSampling",
    "LedArray",
    "Lens",
    "LensletArray",
    "Limit",
    "ParameterSpec",
    "PhaseMask",
    "SystemDesign",
    "make_system",
    "system_class",
]

# Names are loaded at first use (PEP 562): a command's help imports no torch.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ChosenExposure": "mi_eval.systems.exposed",
        "CircularKernel": "mi_eval.systems.kernel",
        "CodedAperture": "mi_eval.systems.coded_aperture",
        "ColourMosaic": "mi_eval.systems.mosaic",
        "ImagingSystem": "mi_eval.systems.protocol",
        "Interferometer": "mi_eval.systems.interferometer",
        "InterferometerSchedule": "mi_eval.systems.interferometer",
        "KSpaceSampling": "mi_eval.systems.kspace",
        "LedArray": "mi_eval.systems.led_array",
        "Lens": "mi_eval.systems.lens",
        "LensletArray": "mi_eval.systems.lenslet_array",
        "Limit": "mi_eval.systems.protocol",
        "ParameterSpec": "mi_eval.systems.protocol",
        "PhaseMask": "mi_eval.systems.phase_mask",
        "SystemDesign": "mi_eval.systems.saved",
        "make_system": "mi_eval.systems.registry",
        "system_class": "mi_eval.systems.registry",
    },
)
