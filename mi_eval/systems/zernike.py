"""Zernike polynomials of the unit disc in Noll's order."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def noll_index(number: int) -> tuple[int, int]:
    """Radial order n and signed azimuthal frequency m of Noll's index (1 is piston).

    Odd indices carry sines (m < 0). Source: Noll 1976, J. Opt. Soc. Am. 66, 207, table I.

    Examples
    --------
    >>> [noll_index(j) for j in (1, 2, 3, 4, 5, 6, 7, 8, 11)]
    [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (4, 0)]
    """
    n = 0
    left = number - 1
    while left > n:
        n += 1
        left -= n
    m = (n % 2) + 2 * ((left + (n + 1) % 2) // 2)
    return n, m if number % 2 == 0 else -m


def zernike(number: int, radius: FloatArray, angle: FloatArray) -> FloatArray:
    """Polynomial of Noll's index on polar coordinates, with mean square 1 over the unit disc."""
    n, m = noll_index(number)
    k = abs(m)
    radial = np.zeros(np.shape(radius))
    for s in range((n - k) // 2 + 1):
        share = factorial(n - s) / (factorial(s) * factorial((n + k) // 2 - s) * factorial((n - k) // 2 - s))
        radial += (-1) ** s * share * np.asarray(radius) ** (n - 2 * s)
    if m == 0:
        return np.asarray(np.sqrt(n + 1) * radial)
    wave = np.cos(k * angle) if m > 0 else np.sin(k * angle)
    return np.asarray(np.sqrt(2 * (n + 1)) * radial * wave)
