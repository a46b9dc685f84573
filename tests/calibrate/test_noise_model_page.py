"""The page on the noise-model file names what the file may hold."""

from __future__ import annotations

import re
from pathlib import Path

from calibrate.noise_model.defect_kinds import DEFECT_KINDS
from calibrate.schema import PARAMETERS, MeasurementEntry, NoiseModelDocument

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "noise-model.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> str:
    """First column of the tables under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("|"))


def test_every_key_parameter_and_measurement_has_a_row():
    keys = {field.alias or name for name, field in NoiseModelDocument.model_fields.items()}
    for heading, names in (
        ("Keys", keys),
        ("Parameters", set(PARAMETERS)),
        ("Measurements", set(MeasurementEntry.model_fields)),
    ):
        assert names <= set(re.findall(r"`(\w+)`", first_cells(heading))), heading


def test_every_map_and_defect_has_its_place():
    named = set(re.findall(r"`(\w+)`", first_cells("Maps")))
    assert {"offset_dn", "read_noise_e", "dark_current_e_per_s", "prnu", "system_gain_dn_per_e", "defects"} <= named
    for kind in DEFECT_KINDS.values():
        assert f"{kind.bit} {kind.name}" in PAGE
