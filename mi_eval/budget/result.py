"""What a budget says: the keys `budget` and `efficiency` of score.json as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BitsEstimate:
    """Bits per pixel with their standard error."""

    value: float
    std: float

    def to_dict(self) -> dict[str, float]:
        """{value, std}."""
        return {"value": self.value, "std": self.std}


@dataclass(frozen=True)
class Efficiency:
    """I(Y;Z) / I(Y;N), and how it was found.

    Parameters
    ----------
    value, std : float
    ci95 : (float, float)
    method : str
        ``exact_one_pixel``, ``simulated_light``, or ``gaussian_copula`` (a surrogate) for real frames.
    """

    value: float
    std: float
    ci95: tuple[float, float]
    method: str

    def to_dict(self) -> dict[str, Any]:
        """{value, std, ci95, method}."""
        return {"value": self.value, "std": self.std, "ci95": list(self.ci95), "method": self.method}


@dataclass(frozen=True)
class BudgetPart:
    """One imperfection: the bits per pixel that switching it off alone would gain."""

    name: str
    bits_per_pixel: BitsEstimate


@dataclass(frozen=True)
class Spectrum:
    """Where the bits are over spatial frequency, one value a ring of frequencies.

    Parameters
    ----------
    frequency_cycles_per_px : tuple of float
        Middle of the ring.
    share_of_square : tuple of float
        Its share of the Nyquist square; the shares add up to 1.
    bits_per_pixel, noiseless_bits_per_pixel : tuple of float
        1/2 log2(1 + S/N), mean over the ring: through the camera, and with shot noise alone (empty without it).
    """

    frequency_cycles_per_px: tuple[float, ...]
    share_of_square: tuple[float, ...]
    bits_per_pixel: tuple[float, ...]
    noiseless_bits_per_pixel: tuple[float, ...]

    def to_dict(self) -> dict[str, list[float]]:
        """Lists by name."""
        return {name: list(values) for name, values in self.__dict__.items()}


@dataclass(frozen=True)
class InformationBudget:
    """The price of every imperfection of a camera, in bits per pixel, on the light of given frames.

    Parameters
    ----------
    ensemble : str
        Whose light it is.
    method : str
        ``gaussian_copula`` or ``rescored``.
    as_fitted : BitsEstimate
        Information through the camera as fitted, by the same method; the score is the better estimate of it.
    parts : tuple of BudgetPart
    not_priced : dict of str to str
        Imperfections that the noise model does not hold, and why.
    all_off : BitsEstimate or None
        Information with all parts switched off together; None without shot noise, where it has no limit.
    noiseless_readout_limit : BitsEstimate or None
        Information of the photon counts behind the frames.
    interaction : BitsEstimate or None
        What all parts together gain, less the sum of what each gains alone.
    efficiency : Efficiency or None
        As fitted over the limit.
    spectrum : Spectrum or None
    """

    ensemble: str
    method: str
    as_fitted: BitsEstimate
    parts: tuple[BudgetPart, ...]
    not_priced: dict[str, str]
    all_off: BitsEstimate | None
    noiseless_readout_limit: BitsEstimate | None
    interaction: BitsEstimate | None
    efficiency: Efficiency | None
    spectrum: Spectrum | None = None

    def to_dict(self) -> dict[str, Any]:
        """The key `budget` of score.json; the efficiency has a key of its own."""

        def optional(entry: BitsEstimate | None) -> dict[str, float] | None:
            return None if entry is None else entry.to_dict()

        return {
            "ensemble": self.ensemble,
            "method": self.method,
            "as_fitted": {"bits_per_pixel": self.as_fitted.to_dict()},
            "parts": [{"name": part.name, "bits_per_pixel": part.bits_per_pixel.to_dict()} for part in self.parts],
            "not_priced": [{"name": name, "reason": reason} for name, reason in self.not_priced.items()],
            "all_off": {"bits_per_pixel": optional(self.all_off)},
            "noiseless_readout_limit": {"bits_per_pixel": optional(self.noiseless_readout_limit)},
            "interaction": {"bits_per_pixel": optional(self.interaction)},
            "spectrum": None if self.spectrum is None else self.spectrum.to_dict(),
        }
