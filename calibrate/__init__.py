"""Camera calibration from dark and flat raw frames: one noise model per sensor, with error bars.

Examples
--------
>>> import calibrate
>>> "NoiseModel" in calibrate.__all__
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calibrate.plumbing.lazy import lazy_exports

if TYPE_CHECKING:
    from calibrate.captures import load_captures
    from calibrate.level_statistics import measure_bursts
    from calibrate.noise_model import NoiseModel
    from calibrate.photon_transfer import fit_noise_model
    from calibrate.plumbing.errors import PhotonbitsError
    from calibrate.simulate import simulate_captures

__version__ = "0.1.0"

__all__ = [
    "NoiseModel",
    "PhotonbitsError",
    "__version__",
    "fit_noise_model",
    "load_captures",
    "measure_bursts",
    "simulate_captures",
]

# Names are loaded at first use (PEP 562), so that a command's help imports no numerical package.
__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "NoiseModel": "calibrate.noise_model",
        "PhotonbitsError": "calibrate.plumbing.errors",
        "fit_noise_model": "calibrate.photon_transfer",
        "load_captures": "calibrate.captures",
        "measure_bursts": "calibrate.level_statistics",
        "simulate_captures": "calibrate.simulate",
    },
)
