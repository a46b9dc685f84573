"""Text tables of a photon-transfer curve: ``mean_dn variance_dn2 [exposure_s]``."""

from __future__ import annotations

import math
from pathlib import Path

from calibrate.captures.capture_set import CaptureSet, TablePoint
from calibrate.captures.text import read_text
from calibrate.plumbing.errors import PhotonbitsError

_LEGAL = "mean_dn variance_dn2 [exposure_s], separated by blanks or commas, # for comments"
_COLUMNS = {"mean": 0, "var": 1, "exp": 2}


def _split(line: str) -> list[str]:
    words = line.replace(";", ",").split(",") if "," in line or ";" in line else line.split()
    return [word.strip().strip('"') for word in words]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _column_order(words: list[str]) -> list[int | None]:
    """Return the meaning (0 mean, 1 variance, 2 exposure, None other) of each column from its heading."""
    meanings: list[int | None] = []
    for word in words:
        known = [place for start, place in _COLUMNS.items() if word.lower().startswith(start)]
        meanings.append(known[0] if known and known[0] not in meanings else None)
    if 0 in meanings and 1 in meanings:
        return meanings
    return list(range(len(words))) if len(words) <= 3 else []


def _point(words: list[str], order: list[int | None], where: str) -> TablePoint:
    values: list[float | None] = [None, None, None]
    for place, word in zip(order, words, strict=False):
        if place is None or (place == 2 and not word):
            continue
        if not _is_number(word) or not math.isfinite(float(word)):
            raise PhotonbitsError(f"{word!r} is no finite number", where=where, legal=_LEGAL, remedy="Correct the line")
        values[place] = float(word)
    mean, variance, exposure = values
    if mean is None or variance is None:
        raise PhotonbitsError(
            f"{len(words)} column(s)", where=where, legal=_LEGAL, remedy="Give mean and variance on each line"
        )
    for name, value in (("variance_dn2", variance), ("exposure_s", exposure)):
        if value is not None and value < 0:
            raise PhotonbitsError(
                f"{name} is {value:g}", where=where, legal=f"{name} of 0 and more", remedy="Correct the line"
            )
    return TablePoint(mean, variance, exposure)


def load_table(path: Path, text: str | None = None) -> CaptureSet:
    """Return the points of a text table, in the order of the file.

    A heading (words before the first numbers) is read when it names mean and variance; otherwise the columns
    are mean, variance and exposure in this order.

    Raises
    ------
    PhotonbitsError
        The file has no points, or a line cannot be read.
    """
    points: list[TablePoint] = []
    order: list[int | None] | None = None
    for number, line in enumerate((text or read_text(path)).split("\n"), start=1):
        bare = line.split("#")[0].strip()
        if not bare:
            continue
        words = _split(bare)
        where = f"{path}, line {number}"
        if not points and order is None and not any(_is_number(word) for word in words):
            order = _column_order(words)
            continue
        if order is None or not order:
            order = [0, 1, 2]
        if len(words) > max(3, len(order)):
            raise PhotonbitsError(f"{len(words)} columns", where=where, legal=_LEGAL, remedy="Remove the other columns")
        points.append(_point(words, order, where))
    if not points:
        raise PhotonbitsError(
            "the file holds no points", where=path, legal=_LEGAL, remedy="Check that this is the right file"
        )
    return CaptureSet(root=path.parent, source="table", points=tuple(points), input_files=(path,))
