"""Numbers and tables as plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Outside this range of magnitudes a number is written with an exponent.
_SMALLEST_PLAIN = 1e-4
_LARGEST_PLAIN = 1e7


def format_value_std(value: float, std: float | None) -> str:
    """Value with its standard error in matching digits.

    Parameters
    ----------
    value : float
        The number.
    std : float or None
        Its standard error; None, zero or a number that is not finite leave the value alone, in six digits.

    Returns
    -------
    str
        Short form of the GUM (JCGM 100:2008, 7.2.2): the digits in parentheses are the standard error in
        units of the last digits of the value, of which it fixes two.

    Examples
    --------
    >>> format_value_std(0.50123, 0.0013)
    '0.5012(13)'
    >>> format_value_std(2345.6, 12)
    '2346(12)'
    >>> format_value_std(3.2109e-9, 4.2e-11)
    '3.211(42)e-09'
    >>> format_value_std(1234567, 1200)
    '1.2346(12)e+06'
    >>> format_value_std(2.4, None)
    '2.4'
    """
    value = float(value)
    if std is None or not math.isfinite(std) or std <= 0 or not math.isfinite(value):
        return f"{value:.6g}"
    digits, exponent_text = f"{float(std):.1e}".split("e")
    last = int(exponent_text) - 1  # power of ten of the second digit of the standard error
    in_parentheses = digits.replace(".", "")
    magnitude = max(abs(value), float(std))
    if last <= 0 and _SMALLEST_PLAIN <= magnitude < _LARGEST_PLAIN:
        return f"{value:.{-last}f}({in_parentheses})"
    exponent = int(f"{magnitude:e}".split("e")[1])
    mantissa_digits = max(exponent - last, 0)
    # Rounding can carry the mantissa to 10: 9.9996(12) becomes 1.00000(12) with one more in the exponent.
    if abs(float(f"{value / 10.0**exponent:.{mantissa_digits}f}")) >= 10.0:
        exponent += 1
        mantissa_digits += 1
    return f"{_scaled(value, exponent):.{mantissa_digits}f}({in_parentheses})e{exponent:+03d}"


def _scaled(value: float, exponent: int) -> float:
    """Value over a power of ten, without overflow of the power."""
    return float(f"{value:.17e}".split("e")[0]) * 10.0 ** (int(f"{value:.17e}".split("e")[1]) - exponent)


def format_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[object]],
    align: str | None = None,
) -> str:
    """Aligned plain-text table: headers, a rule, one line for each row.

    Parameters
    ----------
    headers : sequence of str
        Column titles.
    rows : sequence of sequences
        Cells; anything but text goes through ``str``, None becomes empty.
    align : str, optional
        One letter for each column, ``l`` or ``r``; by default the first column is left-aligned and the
        others are right-aligned.

    Returns
    -------
    str
        Lines without trailing blanks, joined by line feeds, none at the end.

    Raises
    ------
    ValueError
        A row or `align` does not have one entry for each column.

    Examples
    --------
    >>> print(format_table(["quantity", "found"], [["gain", "0.5012(13)"], ["offset", 64]]))
    quantity       found
    --------  ----------
    gain      0.5012(13)
    offset            64
    """
    n_columns = len(headers)
    if align is None:
        align = "l" + "r" * (n_columns - 1)
    if len(align) != n_columns or set(align) - {"l", "r"}:
        raise ValueError(f"align is {align!r}; expected {n_columns} letters l or r")
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for number, row in enumerate(cells):
        if len(row) != n_columns:
            raise ValueError(f"row {number} has {len(row)} cells; expected {n_columns}")
    widths = [max(len(row[column]) for row in [list(headers), *cells]) for column in range(n_columns)]
    lines = [list(headers), ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(line, widths, align, strict=True)
        ).rstrip()
        for line in lines
    )
