"""The series for a terminal: a table of the settings, and what they say together."""

from __future__ import annotations

import math

from calibrate.plumbing.tables import format_table, format_value_std
from calibrate.series.fit import DarkCurrentGroup, Series, UnityGroup
from calibrate.series.quantity import Quantity
from calibrate.series.shared import SharedQuantity

#: Columns of the table of settings: quantity and heading.
COLUMNS = (
    ("system_gain_dn_per_e", "K (DN/e-)"),
    ("electrons_per_dn", "1/K (e-/DN)"),
    ("read_noise_e", "read (e-)"),
    ("offset_dn", "offset (DN)"),
    ("saturation_e", "sat. (e-)"),
    ("full_well_e", "well (e-)"),
    ("dynamic_range_db", "DR (dB)"),
    ("dynamic_range_stops", "(stops)"),
    ("dark_current_e_per_s", "dark (e-/s)"),
)
_MOST_NAMES = 4
LEGEND = (
    "K: system gain. read: read noise. sat.: charge at saturation, where the converter clips or the response rolls "
    "off, whichever comes first. well: full well, where it was reached. DR: dynamic range, saturation over the charge "
    "that equals its own noise. dark: dark current."
)


def shown(quantity: Quantity | None) -> str:
    """Value with its error in short form; a dash where it is not known.

    Examples
    --------
    >>> shown(Quantity(9012.3, 157.0, "e-")), shown(Quantity(0.5012, 0.0013, "DN/e-"))
    ('9010(160)', '0.5012(13)')
    """
    if quantity is None:
        return "-"
    std = quantity.std
    # Columns of charges: no exponent before a million, the last digits of both are 0 instead.
    if std is not None and 100 <= std < 1e5 and abs(quantity.value) < 1e6:
        places = 1 - math.floor(math.log10(float(f"{std:.1e}")))
        return f"{round(quantity.value, places):.0f}({round(std, places):.0f})"
    return format_value_std(quantity.value, std)


def setting_rows(series: Series) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Headings, and (name, cells) of fitted settings and darks alone in order; columns that stay empty are left out."""
    filled = [(name, title) for name, title in COLUMNS if any(name in entry.quantities for entry in series.fitted)]
    rows = [
        (
            entry.setting,
            entry.name,
            [entry.setting.words, *(shown(entry.quantities.get(name)) for name, _ in filled)],
        )
        for entry in series.fitted
    ]
    for dark in series.dark_only:
        cells = [shown(dark.dark_current_e_per_s) if name == "dark_current_e_per_s" else "-" for name, _ in filled]
        rows.append((dark.setting, dark.name, [f"{dark.setting.words} (darks alone)", *cells]))
    rows.sort(key=lambda row: row[0].sort_key)
    return ["setting", *(title for _, title in filled)], [(name, cells) for _, name, cells in rows]


def unity_sentence(group: UnityGroup) -> str:
    """What is known of unity gain."""
    at = "" if group.setting.words == "one setting" else f" at {group.setting.words}"
    unity = group.unity
    if unity.setting is None:
        return f"Unity gain{at}: not known, because {unity.reason}."
    return f"Unity gain (K = 1 DN/e-){at}: {unity.setting.unit} {shown(unity.setting)}."


def dark_sentence(group: DarkCurrentGroup) -> str:
    """What is known of dark current against temperature."""
    at = "" if group.setting.words == "one setting" else f" at {group.setting.words}"
    law = group.law
    if law.doubling is None:
        return f"Doubling of the dark current{at}: not known, because {law.reason}."
    doubling = law.doubling
    current = f"{shown(doubling.current_e_per_s)} e-/s at {doubling.reference_c:g} °C"
    quality = _quality(doubling.chi2, doubling.dof)
    text = f"Dark current{at} doubles every {shown(doubling.quantity)} °C ({current}{quality})"
    if law.activation is not None:
        quality = _quality(law.activation.chi2, law.activation.dof).removeprefix(", ")
        text += f"; activation energy {shown(law.activation.quantity)} eV" + (f" ({quality})" if quality else "")
    return text + "."


def _quality(chi2: float, dof: int) -> str:
    return f", chi-square {chi2:.3g} for {dof} degree{'' if dof == 1 else 's'} of freedom" if dof else ""


def shared_sentence(entry: SharedQuantity) -> str:
    """Whether settings agree on a quantity."""
    at = "" if entry.at.words == "one setting" else f" at {entry.at.words}"
    verdict = "agree" if entry.agree else "DISAGREE"
    return (
        f"{entry.quantity}{at}: {entry.dof + 1} {entry.across} {verdict} (p = {entry.p_value:.2g}), "
        f"weighted mean {shown(entry.mean)} {entry.mean.unit}."
    )


def format_series(series: Series) -> str:
    """The text that `calibrate fit` prints of a series."""
    headings, rows = setting_rows(series)
    lines = [format_table(headings, [cells for _, cells in rows])]
    groups = [
        [unity_sentence(unity) for unity in series.unity],
        [dark_sentence(dark) for dark in series.dark_current],
        [shared_sentence(entry) for entry in series.shared],
    ]
    for sentences in groups:
        if sentences:
            lines += ["", *sentences]
    doubts = doubts_by_code(series)
    if doubts:
        lines += ["", "Doubts:"]
        lines += [f"  {code} ({names}): {message}" for code, names, message in doubts]
    if series.not_fitted:
        lines += ["", "Not fitted:"]
        lines += [f"  {entry.setting.words}: {entry.reason}" for entry in series.not_fitted]
    if series.notes:
        lines += ["", "Notes:", *(f"  {note}" for note in series.notes)]
    return "\n".join(lines)


def doubts_by_code(series: Series) -> list[tuple[str, str, str]]:
    """Each doubt once: code, the settings that have it, and the first one's sentence."""
    found: dict[str, tuple[list[str], str]] = {}
    for entry in series.fitted:
        for doubt in entry.model.document.fit.flags:
            names, _ = found.setdefault(doubt.code, ([], doubt.message))
            names.append(entry.name)
    return [(code, _listed(names, len(series.fitted)), message) for code, (names, message) in found.items()]


def _listed(names: list[str], total: int) -> str:
    if len(names) == total and total > 1:
        return "all settings"
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
    return ", ".join(names)
