"""What headers say about exposed pixels, binning and serial numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from calibrate.frames import describe_file
from calibrate.frames.fits_header import fits_metadata

FRAME = np.zeros((20, 30), dtype=np.uint16)


def found(**cards: Any) -> dict[str, object]:
    header = fits.PrimaryHDU(FRAME).header
    for name, value in cards.items():
        header[name.replace("_", "-")] = value
    return fits_metadata(header)


@pytest.mark.parametrize(
    ("cards", "exposed"),
    [
        ({"TRIMSEC": "[5:30,1:18]"}, (0, 18, 4, 30)),
        ({"DATASEC": "[ 1 : 26 , 3 : 20 ]"}, (2, 20, 0, 26)),
        ({"TRIMSEC": "[5:30,1:20]", "DATASEC": "[1:30,1:20]", "BIASSEC": "[1:4,1:20]"}, (0, 20, 4, 30)),
        ({"BIASSEC": "[1:4,1:20]"}, (0, 20, 4, 30)),
        ({"BIASSEC": "[27:30,1:20]"}, (0, 20, 0, 26)),
        ({"BIASSEC": "[1:30,17:20]"}, (0, 16, 0, 30)),
        ({"TRIMSEC": "[30:5,1:20]"}, None),  # from right to left: not understood, not guessed
        ({"TRIMSEC": "all"}, None),
        ({}, None),
    ],
)
def test_exposed_part_of_a_fits_frame(cards: dict[str, str], exposed: tuple[int, ...] | None) -> None:
    assert found(**cards).get("exposed") == exposed


def test_binning_and_serial_number() -> None:
    assert found(XBINNING=2, YBINNING=3)["binning"] == (3, 2)
    assert found(CCDSUM="2 4")["binning"] == (4, 2)
    assert "binning" not in found(CCDSUM="2") and "binning" not in found()
    assert found(SERIALNO="17")["serial"] == "17" and "serial" not in found(SERIALNO="  ")


def test_active_area_of_a_dng(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tags = [(50829, "I", 4, (2, 4, 20, 28), True), (50735, "s", 0, "A-17", True)]
    tifffile.imwrite(path, FRAME, photometric="minisblack", extratags=tags)
    header = describe_file(path).header
    assert header["exposed"] == (2, 20, 4, 28) and header["serial"] == "A-17"
    whole = tmp_path / "b.tif"
    tifffile.imwrite(whole, FRAME, photometric="minisblack", extratags=[(50829, "I", 4, (0, 0, 20, 30), True)])
    assert "exposed" not in describe_file(whole).header
