"""What people read when input cannot be used."""

from __future__ import annotations

from calibrate.plumbing.errors import PhotonbitsError


def test_message_is_one_line_with_all_parts():
    error = PhotonbitsError("bit depth is 40", where="sensor.yaml", legal="1 to 16", remedy="Correct the file.")
    assert str(error) == "bit depth is 40 (in sensor.yaml). Expected: 1 to 16. Correct the file."


def test_message_without_the_optional_parts():
    assert str(PhotonbitsError("No frames.")) == "No frames."
