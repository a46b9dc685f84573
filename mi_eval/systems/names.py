"""Names of the imaging systems and the modules they stand in, without importing torch."""

from __future__ import annotations

#: Name in configurations and files: module and class.
SYSTEM_NAMES: dict[str, tuple[str, str]] = {
    "circular_kernel": ("mi_eval.systems.kernel", "CircularKernel"),
    "coded_aperture": ("mi_eval.systems.coded_aperture", "CodedAperture"),
    "colour_mosaic": ("mi_eval.systems.mosaic", "ColourMosaic"),
    "interferometer": ("mi_eval.systems.interferometer", "Interferometer"),
    "interferometer_schedule": ("mi_eval.systems.interferometer", "InterferometerSchedule"),
    "kspace": ("mi_eval.systems.kspace", "KSpaceSampling"),
    "led_array": ("mi_eval.systems.led_array", "LedArray"),
    "lens": ("mi_eval.systems.lens", "Lens"),
    "lenslet_array": ("mi_eval.systems.lenslet_array", "LensletArray"),
    "phase_mask": ("mi_eval.systems.phase_mask", "PhaseMask"),
}
#: Systems that hold another one: files know them, configurations have words of their own for them.
OUTER_NAMES: dict[str, tuple[str, str]] = {
    "chosen_exposure": ("mi_eval.systems.exposed", "ChosenExposure"),
}
