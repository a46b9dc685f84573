"""Per-pixel offset, read noise, gain, dark current and photo-response with their errors, and the pixels that misbehave.

A second pass over the frames, which needs the fitted scalars: which levels are below saturation, how far each level
lies along the response curve, and what noise to expect there.
"""

from calibrate.pixel_maps.measure import MeasuredMaps, measure_maps
from calibrate.pixel_maps.plan import ScalarFit
from calibrate.pixel_maps.record import record_maps

__all__ = ["MeasuredMaps", "ScalarFit", "measure_maps", "record_maps"]
