"""Digests against the published test vectors of SHA-256 (FIPS 180-2, appendix B)."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibrate.plumbing.errors import PhotonbitsError
from calibrate.plumbing.hashing import sha256_of_bytes, sha256_of_file, sha256_of_files

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
MILLION_A = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


def test_published_digests(tmp_path: Path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"abc")
    large.write_bytes(b"a" * 1_000_000)
    assert sha256_of_bytes(b"abc") == ABC
    assert sha256_of_file(small) == ABC
    assert sha256_of_files([large, small, large]) == [MILLION_A, ABC, MILLION_A]
    assert sha256_of_files([]) == []


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(PhotonbitsError, match=r"Cannot read .*nothing\.tif"):
        sha256_of_files([tmp_path / "nothing.tif"])
