"""The noise model: p(z | y), its moments and its entropy. The contract between the two stages."""

from calibrate.noise_model.camera import Camera
from calibrate.noise_model.model import NoiseModel
from calibrate.noise_model.tables import CodeTable

__all__ = ["Camera", "CodeTable", "NoiseModel"]
