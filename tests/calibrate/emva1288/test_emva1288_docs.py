"""Every quantity and every curve stands in the documentation."""

from __future__ import annotations

from pathlib import Path

from calibrate.emva1288.names import QUANTITIES

PAGE = Path(__file__).resolve().parents[3] / "docs" / "emva1288.md"


def test_every_name_is_documented():
    text = PAGE.read_text(encoding="utf-8")
    for name, (symbol, unit, _) in QUANTITIES.items():
        assert f"`{name}`" in text, name
        assert unit in text and symbol.split(".")[0] in text, name
