"""The summary of a sweep as lines for people and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from calibrate.plumbing.tables import format_table

#: Columns of summary.csv; one row for each setting and patch size.
COLUMNS = (
    "name",
    "group",
    "kind",
    "camera",
    "gain_setting",
    "exposure_s",
    "patch_size",
    "seeds",
    "information_bits_per_pixel",
    "std_bits_per_pixel",
    "ci95_low_bits_per_pixel",
    "ci95_high_bits_per_pixel",
    "seed_std_bits_per_pixel",
    "difference_from_source_bits_per_pixel",
    "difference_from_source_std_bits_per_pixel",
    "mean_signal_e",
    "bits_per_electron",
    "saturated_fraction",
    "system_gain_dn_per_e",
    "read_noise_e",
    "bit_depth",
    "frames",
    "patches_used",
    "warnings",
)


def summary_csv(summary: dict[str, Any]) -> str:
    """summary.csv: a heading, one row for each setting and patch size; empty where something is not known."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in summary["settings"]:
        information = entry["mutual_information_bits_per_pixel"]
        values = {
            **entry,
            "information_bits_per_pixel": information["value"],
            "std_bits_per_pixel": information["std"],
            "ci95_low_bits_per_pixel": information["ci95"][0],
            "ci95_high_bits_per_pixel": information["ci95"][1],
            "difference_from_source_bits_per_pixel": (entry["against_source"] or {}).get("difference_bits_per_pixel"),
            "difference_from_source_std_bits_per_pixel": (entry["against_source"] or {}).get("std_bits_per_pixel"),
            "warnings": " ".join(entry["warnings"]),
        }
        writer.writerow(["" if values[column] is None else values[column] for column in COLUMNS])
    return stream.getvalue()


def summary_text(summary: dict[str, Any]) -> str:
    """The table and a sentence for each ranking."""
    rows = []
    for entry in summary["settings"]:
        information = entry["mutual_information_bits_per_pixel"]
        spread = entry["seed_std_bits_per_pixel"]
        rows.append(
            [
                entry["name"],
                entry["patch_size"],
                f"{information['value']:.4f}",
                f"{information['ci95'][0]:.4f} to {information['ci95'][1]:.4f}",
                "" if spread is None else f"{spread:.4f}",
                f"{entry['mean_signal_e']:.4g}",
            ]
        )
    heads = ["setting", "patch (px)", "bit/px", "95 % interval", "seed spread", "mean signal (e-)"]
    parts = [format_table(heads, rows, align="lrrrrr")] if rows else []
    for ranking in summary["rankings"]:
        parts.append(f"Patches of {ranking['patch_size']} px: {ranking['sentence']}")
    return "\n\n".join(parts)
