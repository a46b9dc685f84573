"""What all tests share: the reference captures, and property tests that repeat themselves exactly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("deterministic")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the fixture `realdata`, so that ``-m "not realdata"`` leaves them out."""
    for item in items:
        if "realdata" in getattr(item, "fixturenames", ()):
            item.add_marker("realdata")


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of the public reference captures; skips where it is absent, unless it is required."""
    named = os.environ.get("PHOTONBITS_REALDATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    message = f"no reference captures in {folder}; PHOTONBITS_REALDATA names another folder"
    if os.environ.get("PHOTONBITS_REQUIRE_REALDATA") == "1":
        pytest.fail(message)
    pytest.skip(message)
