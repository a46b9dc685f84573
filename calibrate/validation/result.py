"""The result of a check: what was compared, the verdict, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import chdtrc

from calibrate.plumbing.tables import format_table, format_value_std
from calibrate.validation.diagnoses import Finding
from calibrate.validation.means import OffsetTest
from calibrate.validation.observed import Regions
from calibrate.validation.ranges import Comparison, SignalRange
from calibrate.validation.transform import examine_transform


@dataclass(frozen=True)
class PartResult:
    """What was compared of one channel, or of the whole frame.

    Parameters
    ----------
    channel : str or None
        None where the model has no channels.
    comparison : Comparison
        Variances and distributions per signal range.
    findings : tuple of Finding
    offset : OffsetTest or None
        Means of the darks against the model's; None without darks.
    regions : Regions or None
    """

    channel: str | None
    comparison: Comparison
    findings: tuple[Finding, ...]
    offset: OffsetTest | None = None
    regions: Regions | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ranges, offset and map as plain data; keys as in the result."""
        named = {} if self.channel is None else {"channel": self.channel}
        plain: dict[str, Any] = {"ranges": [_range_to_dict(entry) | named for entry in self.comparison.ranges]}
        if self.offset is not None:
            plain["offset"] = {"shift_dn": self.offset.shift_dn, "std_dn": self.offset.shift_std_dn}
        if self.regions is not None:
            rows, columns = self.regions.noise_ratio.shape
            losses = [examine_transform(row).loss_bits for row in self.regions.histogram]
            plain["map"] = {
                "rows": rows,
                "columns": columns,
                "noise_ratio": self.regions.noise_ratio.tolist(),
                "noise_ratio_std": self.regions.noise_ratio_std.tolist(),
                "loss_bits_per_pixel": np.reshape(losses, (rows, columns)).tolist(),
            }
        return plain


@dataclass(frozen=True)
class CheckResult:
    """Whether captures agree with a noise model.

    Parameters
    ----------
    parts : tuple of PartResult
        One, or one a channel.
    n_frames, n_in_fit : int
        Frames compared (saturated ones are not), or points of a table; and those of them that went into the fit.
    notes : tuple of str
        What people should know about the comparison.
    """

    parts: tuple[PartResult, ...]
    n_frames: int
    n_in_fit: int
    notes: tuple[str, ...] = ()

    @property
    def ranges(self) -> tuple[SignalRange, ...]:
        """The signal ranges of all parts."""
        return tuple(entry for part in self.parts for entry in part.comparison.ranges)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What disagrees, each kind once; with channels the first one's figures and the names of all that have it."""
        kinds: dict[str, list[tuple[str | None, Finding]]] = {}
        for part in self.parts:
            for found in part.findings:
                kinds.setdefault(found.code, []).append((part.channel, found))
        out = []
        for members in kinds.values():
            names = [name for name, _ in members if name is not None]
            first = members[0][1]
            if names:
                likewise = f" Likewise {', '.join(names[1:])}." if names[1:] else ""
                first = replace(first, message=f"Channel {names[0]}: {first.message}{likewise}")
            out.append(first)
        return tuple(out)

    @property
    def agrees(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.findings

    @property
    def is_independent(self) -> bool:
        """Whether no frame was part of the fit."""
        return self.n_in_fit == 0

    @property
    def chi_square(self) -> tuple[float, int, float]:
        """Chi-square of all judged variances, their number, and the p-value."""
        tests = [part.comparison.chi_square() for part in self.parts]
        value, count = sum(test[0] for test in tests), sum(test[1] for test in tests)
        return value, count, float(chdtrc(max(count, 1), value))

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        value, count, chance = self.chi_square
        tail = "" if self.is_independent else ", on frames that were part of the fit"
        if self.agrees:
            off = max((abs(entry.ratio - 1) for entry in self.ranges if entry.within_validity), default=0.0)
            return (
                f"The model describes these captures{tail}: {count} signal ranges, variances within "
                f"{100 * off:.2g} % (chi-square {value:.1f} for {count}, p = {chance:.2g})."
            )
        return f"The model does not describe these captures{tail}: {', '.join(f.code for f in self.findings)}."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; with channels, ``channels`` holds the offset and the map of each."""
        value, count, chance = self.chi_square
        parts = [part.to_dict() for part in self.parts]
        plain: dict[str, Any] = {
            "agrees": self.agrees,
            "verdict": self.verdict,
            "independent": self.is_independent,
            "frames": self.n_frames,
            "frames_in_fit": self.n_in_fit,
            "chi_square": {"value": value, "dof": count, "p_value": chance},
            "ranges": [entry for part in parts for entry in part.pop("ranges")],
            "diagnoses": [
                {"code": found.code, "message": found.message, "remedy": found.remedy} for found in self.findings
            ],
            "notes": list(self.notes),
        }
        if self.parts[0].channel is None:
            return plain | parts[0]
        return plain | {"channels": {part.channel: own for part, own in zip(self.parts, parts, strict=True)}}


def _range_to_dict(entry: SignalRange) -> dict[str, Any]:
    return {
        "mean_dn": entry.mean_dn,
        "observed_variance_dn2": entry.observed_variance_dn2,
        "predicted_variance_dn2": entry.predicted_variance_dn2,
        "z": entry.z,
        "observed_std_dn2": entry.observed_std_dn2,
        "predicted_std_dn2": entry.predicted_std_dn2,
        "kind": entry.kind,
        "levels": entry.n_levels,
        "pixel_pairs": entry.n_pairs,
        "within_validity": entry.within_validity,
        "distribution": {
            "pixel_pairs": entry.transform.n,
            "p_value": entry.transform.p_value,
            "distance": entry.transform.distance,
            "loss_bits_per_pixel": entry.transform.loss_bits,
            "shape_loss_bits_per_pixel": entry.transform.shape_loss_bits,
        },
    }


def format_result(result: CheckResult) -> str:
    """The result as text: a table of the ranges, the verdict, and each diagnosis with what to do."""
    lines = []
    for part in result.parts:
        if part.channel is not None:
            lines.append(f"Channel {part.channel}")
        lines.append(_format_ranges(part.comparison))
        if part.offset is not None:
            shift = format_value_std(part.offset.shift_dn, part.offset.shift_std_dn)
            lines.append(f"Darks less the model's offset: {shift} DN")
        lines.append("")
    lines.extend(f"Note: {note}" for note in result.notes)
    lines.append(("\n" if result.notes else "") + result.verdict)
    for found in result.findings:
        lines.append(f"\n  {found.code}: {found.message}\n    What to do: {found.remedy}")
    return "\n".join(lines)


def _format_ranges(comparison: Comparison) -> str:
    rows = []
    for entry in comparison.ranges:
        rows.append(
            [
                entry.kind,
                f"{entry.mean_dn:.1f}",
                entry.n_levels,
                format_value_std(entry.observed_variance_dn2, entry.observed_std_dn2),
                format_value_std(entry.predicted_variance_dn2, entry.predicted_std_dn2 or None),
                f"{entry.ratio:.4f}",
                f"{entry.z:+.1f}",
                f"{entry.transform.loss_bits:.4f}" if entry.transform.n else "",
                "" if entry.within_validity else "beyond the fit",
            ]
        )
    headers = ["range", "mean DN", "levels", "observed DN²", "predicted DN²", "ratio", "z", "loss bit/px", ""]
    return format_table(headers, rows, align="lrrrrrrrl")
