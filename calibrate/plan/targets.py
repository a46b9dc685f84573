"""What precision is wanted: names, units, and how `gain=0.1%` is read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from calibrate.plumbing.errors import PhotonbitsError

#: Name: (unit of the number that is wanted, what it is the error of).
TARGETS: dict[str, tuple[str, str]] = {
    "gain": ("%", "system gain K"),
    "read_noise": ("%", "read noise"),
    "dark_current": ("%", "dark current"),
    "responsivity": ("%", "electrons per unit of light"),
    "offset": ("DN", "offset"),
    "information": ("bit/px", "information, as far as the calibration makes it"),
    "maps": ("bit/px", "information that errors of the maps feign"),
}
#: Parameter of the noise model behind a target.
PARAMETER_OF = {
    "gain": "system_gain_dn_per_e",
    "read_noise": "read_noise_e",
    "dark_current": "dark_current_e_per_s",
    "responsivity": "responsivity_e_per_light",
    "offset": "offset_dn",
}
#: False information of maps that a score does not notice, bit per pixel: 72 darks.
MAPS_BITS = 0.01
_EXAMPLES = "gain=0.1%, read_noise=1%, dark_current=5%, responsivity=0.1%, offset=0.01, information=0.005, maps"


@dataclass(frozen=True)
class Target:
    """A standard error that is wanted, in the unit of `TARGETS`."""

    name: str
    wanted: float

    @property
    def unit(self) -> str:
        """Unit of ``wanted``."""
        return TARGETS[self.name][0]


DEFAULT_TARGETS = (Target("gain", 0.1), Target("read_noise", 1.0))


def parse_target(text: str) -> Target:
    """Target of a text such as ``gain=0.1%``, ``offset=0.01`` or ``maps``.

    Raises
    ------
    PhotonbitsError
        If the name or its number is not understood.

    Examples
    --------
    >>> parse_target("gain=0.1%")
    Target(name='gain', wanted=0.1)
    >>> parse_target("maps")
    Target(name='maps', wanted=0.01)
    """
    name, equals, number = (part.strip() for part in text.partition("="))
    if name not in TARGETS:
        raise PhotonbitsError(f"target {text!r}", legal=_EXAMPLES)
    if name == "maps" and not equals:
        return Target(name, MAPS_BITS)
    unit = TARGETS[name][0]
    relative = unit == "%"
    if relative != number.endswith("%"):
        wrong = "has no % sign" if relative else "has a % sign"
        raise PhotonbitsError(f"target {text!r} {wrong}", legal=_EXAMPLES)
    try:
        wanted = float(number.removesuffix("%"))
    except ValueError:
        raise PhotonbitsError(f"target {text!r} has no number", legal=_EXAMPLES) from None
    if not (math.isfinite(wanted) and wanted > 0):
        raise PhotonbitsError(f"target {text!r}", legal=f"a number above 0, in {unit}")
    return Target(name, wanted)


def parse_targets(texts: tuple[str, ...]) -> tuple[Target, ...]:
    """All targets, `DEFAULT_TARGETS` where none are given.

    Raises
    ------
    PhotonbitsError
        If one is not understood, or a name stands twice.
    """
    targets = tuple(parse_target(text) for text in texts)
    for target in targets:
        if sum(other.name == target.name for other in targets) > 1:
            raise PhotonbitsError(f"two targets for {target.name}", legal="one each")
    return targets or DEFAULT_TARGETS
