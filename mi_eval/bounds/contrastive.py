"""A bracket around I(X;Z) where scenes are simulated and the camera is known: InfoNCE below, leave-one-out above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.bounds.scores import Bound, infonce, leave_one_out, nwj

FloatArray = NDArray[np.float64]

_FEWEST_PAIRS = 16
_MOST_PAIRS = 4096  # a square of scores of this side is 128 MB
_CAP_SHARE = 0.8
_WIDTH_SHARE = 0.1
_WIDTH_BITS_PER_PIXEL = 0.01
_BLOCK = 200_000  # probabilities found at a time


@dataclass(frozen=True)
class Bracket:
    """Bounds of I(X;Z) in bits per pixel from N pairs of scene and measurement.

    Parameters
    ----------
    lower_bits_per_pixel, lower_std_bits_per_pixel : float
        InfoNCE with the known channel.
    upper_bits_per_pixel, upper_std_bits_per_pixel : float
        Leave-one-out; infinite where a measurement has no other scene that could have made it.
    nwj_bits_per_pixel, nwj_std_bits_per_pixel : float
        For comparison; minus infinity where its exponentials are beyond all numbers.
    cap_bits_per_pixel : float
        log2(N) over the pixels of a patch: InfoNCE cannot exceed it, whatever the information.
    n_pairs, n_pixels : int
    worth_reporting : bool
    reason : str
        Why it is worth reporting, or not.
    """

    lower_bits_per_pixel: float
    lower_std_bits_per_pixel: float
    upper_bits_per_pixel: float
    upper_std_bits_per_pixel: float
    nwj_bits_per_pixel: float
    nwj_std_bits_per_pixel: float
    cap_bits_per_pixel: float
    n_pairs: int
    n_pixels: int
    worth_reporting: bool
    reason: str


def known_channel_bracket(noise_model: NoiseModel, codes: ArrayLike, light_e: ArrayLike) -> Bracket:
    r"""Bounds of I(X;Z) from simulated pairs, with the camera's exact :math:`\log p(z|y)` as the score.

    Parameters
    ----------
    noise_model : NoiseModel
        Without maps and channels.
    codes : ndarray (n_pairs, height, width)
        Measured patches.
    light_e : ndarray (n_pairs, height, width)
        Charge behind each, electrons; pairs are independent draws.

    Returns
    -------
    Bracket

    Raises
    ------
    PhotonbitsError
        For other shapes, fewer than 16 or more than 4096 pairs, or a model with maps or channels.

    Notes
    -----
    Worth reporting is a bracket whose lower end stays below 0.8 of the cap and whose width is at most a tenth of its
    upper end, or 0.01 bit per pixel. Rich scenes never get there: the information of a 16 x 16 patch of a natural image
    is hundreds of bits, and log2 of any number of pairs is not.
    """
    z, y = _checked(noise_model, codes, light_e)
    n, pixels = len(z), z.shape[1]
    scores = log_likelihood_matrix(noise_model, z, y)
    lower, upper = infonce(scores), leave_one_out(scores)
    half = n // 2
    # The baseline of NWJ must not depend on the scenes of the square: the first half's mean likelihood of the second.
    baseline = np.logaddexp.reduce(scores[half:, :half], axis=1) - np.log(half)
    usable = bool(np.all(np.isfinite(baseline)))
    compared = nwj(scores[half:, half:], baseline) if usable else Bound(float("-inf"), float("inf"))
    per = np.log(2) * pixels
    cap = float(np.log2(n)) / pixels
    low, high = float(lower.value / per), float(upper.value / per)
    worth, reason = _judged(low, high, cap)
    return Bracket(
        low,
        float(lower.std / per),
        high,
        float(upper.std / per),
        float(compared.value / per),
        float(compared.std / per),
        cap,
        n,
        pixels,
        worth,
        reason,
    )


def _judged(low: float, high: float, cap: float) -> tuple[bool, str]:
    if low > _CAP_SHARE * cap:
        return False, (
            f"the lower bound, {low:.4f} bit/px, is near its cap of {cap:.4f}: it tells the number of pairs, not the "
            "information"
        )
    allowed = max(_WIDTH_SHARE * abs(high), _WIDTH_BITS_PER_PIXEL)
    if not high - low <= allowed:
        return False, f"the bounds are {high - low:.4f} bit/px apart, more than {allowed:.4f}"
    return True, f"the bounds are {high - low:.4f} bit/px apart, far from the cap of {cap:.4f}"


def _checked(noise_model: NoiseModel, codes: ArrayLike, light_e: ArrayLike) -> tuple[FloatArray, FloatArray]:
    z, y = np.asarray(codes, dtype=np.float64), np.asarray(light_e, dtype=np.float64)
    if z.ndim != 3 or z.shape != y.shape:
        raise PhotonbitsError(
            f"codes of shape {z.shape} and charges of shape {y.shape}", legal="the same (n_pairs, height, width)"
        )
    if not _FEWEST_PAIRS <= len(z) <= _MOST_PAIRS:
        raise PhotonbitsError(f"{len(z)} pairs", legal=f"{_FEWEST_PAIRS} to {_MOST_PAIRS}")
    if noise_model.maps or noise_model.channel_layout is not None:
        raise PhotonbitsError(
            "a noise model with maps or channels",
            legal="one camera for all pixels",
            remedy="Take noise_model.with_parameters(), or one channel",
        )
    return z.reshape(len(z), -1), y.reshape(len(y), -1)


def log_likelihood_matrix(noise_model: NoiseModel, codes: ArrayLike, light_e: ArrayLike) -> FloatArray:
    """log p(z_i | y_j) of every measurement under every scene, nats; (n_measurements, n_scenes).

    Parameters
    ----------
    noise_model : NoiseModel
        Without maps and channels.
    codes : ndarray (n_measurements, n_pixels)
    light_e : ndarray (n_scenes, n_pixels)
        Charge, electrons.

    Notes
    -----
    Sums over pixels of the camera's exact log probability. Few codes differ at a pixel, so each probability is found
    once and read for all measurements that share the code.
    """
    z, y = np.asarray(codes, dtype=np.float64), np.asarray(light_e, dtype=np.float64)
    camera = noise_model.camera
    out = np.zeros((len(z), len(y)))
    if camera.kind == "gaussian" and camera.bit_depth is None and camera.response.is_linear:
        sd = float(camera.system_gain_dn_per_e) * float(camera.read_noise_e)
        a = (z - float(camera.offset_dn)) / sd
        b = y / float(camera.read_noise_e)
        squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None, :] - 2 * a @ b.T
        return np.asarray(-0.5 * squares - z.shape[1] * np.log(sd * np.sqrt(2 * np.pi)))
    for pixel in range(z.shape[1]):
        values, which = np.unique(z[:, pixel], return_inverse=True)
        charges, scene = np.unique(y[:, pixel], return_inverse=True)
        step = max(1, _BLOCK // charges.size)
        table = np.concatenate(
            [noise_model.log_pmf(values[i : i + step, None], charges[None, :]) for i in range(0, values.size, step)]
        )
        out += table[which.reshape(-1)][:, scene.reshape(-1)]
    return out
