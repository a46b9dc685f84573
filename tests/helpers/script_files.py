"""The files of scripts/ as modules, for the small versions of studies in the tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def load_script(name: str, monkeypatch: pytest.MonkeyPatch | None = None) -> ModuleType:
    """scripts/NAME.py, loaded and not run; with ``monkeypatch`` beside its neighbours, and forgotten afterwards."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if monkeypatch is None:
        sys.modules[name] = module
    else:
        monkeypatch.syspath_prepend(str(SCRIPTS))
        monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module
