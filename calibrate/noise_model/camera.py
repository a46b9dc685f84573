"""The camera model as plain numbers: what a pixel does to the charge it has collected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from calibrate.plumbing.errors import PhotonbitsError
from calibrate.response import Response

FloatArray = NDArray[np.float64]
Kind = Literal["poisson-gaussian", "poisson", "gaussian"]
LINEAR = Response()
KINDS: tuple[Kind, ...] = ("poisson-gaussian", "poisson", "gaussian")


@dataclass(frozen=True)
class Camera:
    """n ~ Poisson(y); u = K (n + r), r ~ Normal(0, read_noise_e); z = clip(floor(offset + f(u) + 1/2)).

    ``system_gain_dn_per_e``, ``read_noise_e`` and ``offset_dn`` are scalars or arrays that broadcast against
    the data (per-pixel maps). ``kind`` ``"poisson"`` has no read noise, ``"gaussian"`` no shot noise (u = K (y + r)).
    ``bit_depth`` None: real-valued measurements, no rounding and no clipping.

    Raises
    ------
    PhotonbitsError
        If a parameter lies outside its legal range.
    """

    kind: Kind
    system_gain_dn_per_e: float | FloatArray
    read_noise_e: float | FloatArray
    offset_dn: float | FloatArray
    bit_depth: int | None
    black_clip_dn: int
    white_clip_dn: int
    response: Response = LINEAR

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PhotonbitsError(f"kind {self.kind!r}", legal=", ".join(KINDS))
        _require("system_gain_dn_per_e", self.system_gain_dn_per_e, positive=True, unit="DN/e-")
        _require("read_noise_e", self.read_noise_e, positive=False, unit="e-")
        if not np.all(np.isfinite(self.offset_dn)):
            raise PhotonbitsError(f"offset_dn {self.offset_dn}", legal="a finite number of DN")
        if self.kind == "poisson" and np.any(np.asarray(self.read_noise_e) != 0):
            raise PhotonbitsError(
                f"kind poisson with read_noise_e {np.max(self.read_noise_e):g}",
                legal="read_noise_e 0",
                remedy="Use kind poisson-gaussian for a camera with read noise",
            )
        if self.kind == "gaussian" and np.any(np.asarray(self.read_noise_e) == 0):
            raise PhotonbitsError("kind gaussian with read_noise_e 0", legal="a positive read noise in e-")
        if self.bit_depth is not None:
            if not 1 <= self.bit_depth <= 32:
                raise PhotonbitsError(f"bit_depth {self.bit_depth}", legal="1 to 32, or None for real values")
            if not 0 <= self.black_clip_dn < self.white_clip_dn <= 2**self.bit_depth - 1:
                raise PhotonbitsError(
                    f"black_clip_dn {self.black_clip_dn} and white_clip_dn {self.white_clip_dn}",
                    legal=f"0 <= black < white <= {2**self.bit_depth - 1} for {self.bit_depth} bit",
                )
            if self.white_clip_dn - self.black_clip_dn >= 2**24:
                raise PhotonbitsError(
                    f"{self.white_clip_dn - self.black_clip_dn + 1} codes between the clips",
                    legal="2^24 or fewer, as many as any converter has",
                    remedy="State the camera's own bit depth, or white_clip_dn, instead of the file's word length",
                )
        elif self.kind == "poisson" and not self.response.is_linear:
            raise PhotonbitsError("kind poisson with real values and a non-linear response", legal="a linear response")

    @property
    def is_scalar(self) -> bool:
        """True when no parameter is a map."""
        parameters = (self.system_gain_dn_per_e, self.read_noise_e, self.offset_dn)
        return all(np.ndim(parameter) == 0 for parameter in parameters)

    def thresholds_e(self, codes: FloatArray) -> FloatArray:
        """Charge t with P(Z >= code) = P(n + r >= t), in electrons; -inf at or below the black clip.

        Shape: that of ``codes`` broadcast with the parameters. +inf above the white clip and above a full well.
        """
        edge = self.response.inverse(codes - 0.5 - np.asarray(self.offset_dn)) / self.system_gain_dn_per_e
        edge = np.where(codes <= self.black_clip_dn, -np.inf, edge)
        return np.where(codes > self.white_clip_dn, np.inf, edge)

    def sample(self, y_e: FloatArray, rng: np.random.Generator) -> NDArray[np.generic]:
        """One measurement of every pixel: codes (uint16 up to 16 bit, else uint32) or float64."""
        n = y_e if self.kind == "gaussian" else np.asarray(rng.poisson(y_e), dtype=np.float64)
        if self.kind != "poisson":
            n = n + np.asarray(self.read_noise_e) * rng.standard_normal(y_e.shape)
        x = self.offset_dn + self.response.evaluate(self.system_gain_dn_per_e * n)
        if self.bit_depth is None:
            return np.asarray(x, dtype=np.float64)
        # Without read noise x sits on a lattice that can hit the rounding edge exactly; the same hair as in
        # the probabilities decides there.
        hair = 1e-9 if self.kind == "poisson" or np.all(np.asarray(self.read_noise_e) == 0) else 0.0
        codes = np.clip(np.floor(x + 0.5 + hair), self.black_clip_dn, self.white_clip_dn)
        return codes.astype(np.uint16 if self.bit_depth <= 16 else np.uint32)


def check_charge(y_e: FloatArray, kind: Kind) -> None:
    """Raise PhotonbitsError unless ``y_e`` is finite and, with shot noise, not negative."""
    if not np.all(np.isfinite(y_e)):
        raise PhotonbitsError(
            f"y_e holds {int(np.sum(~np.isfinite(y_e)))} values that are NaN or infinite", legal="finite electrons"
        )
    if kind != "gaussian" and y_e.size and float(np.min(y_e)) < 0:
        raise PhotonbitsError(f"y_e has minimum {float(np.min(y_e)):g}", legal="0 or more electrons")


def _require(name: str, value: float | FloatArray, *, positive: bool, unit: str) -> None:
    array = np.asarray(value, dtype=np.float64)
    bad = ~np.isfinite(array) | ((array <= 0) if positive else (array < 0))
    if np.any(bad):
        worst = float(array[bad].flat[0])
        bound = "above 0" if positive else "0 or more"
        raise PhotonbitsError(f"{name} is {worst:g}", legal=f"a finite number {bound}, in {unit}")
