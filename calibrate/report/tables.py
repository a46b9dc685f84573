"""Tables and facts of the report."""

from __future__ import annotations

import math

from calibrate.plumbing.html import Block, Cell, Column, Details, Facts, Paragraph, Table
from calibrate.plumbing.tables import format_value_std
from calibrate.report.numbers import DECISIVE_BIC, correlation, ranked_candidates, significant
from calibrate.report.words import LABELS, unit_words
from calibrate.schema import (
    PARAMETERS,
    MeasurementEntry,
    NoiseModelDocument,
    NonlinearityEntry,
    ParameterEntry,
)

_MOST_FILES = 500
Parameters = dict[str, ParameterEntry | NonlinearityEntry]


def parameter_rows(parameters: Parameters) -> list[tuple[str, str, str, str, str]]:
    """Rows (label, key, value(std), unit, meaning) in the schema's order, one for each coefficient of a curve."""
    rows = []
    for name, (unit, meaning) in PARAMETERS.items():
        entry = parameters.get(name)
        if isinstance(entry, ParameterEntry):
            value = format_value_std(entry.value, entry.std)
            rows.append((LABELS.get(name, name), name, value, unit_words(unit), meaning))
        elif isinstance(entry, NonlinearityEntry):
            if entry.form == "two-slope":
                rows += two_slope_rows(entry)
                continue
            for k, (value_k, std_k) in enumerate(zip(entry.coefficients, entry.std, strict=True), start=1):
                where = f"c{k} of f(u) = u (1 + Σ cₖ (u / {significant(entry.scale_dn, 5)} DN)ᵏ)"
                label = f"{LABELS[name]} c{k}"
                rows.append((label, name, format_value_std(value_k, std_k), unit_words(unit), f"{meaning}: {where}"))
    return rows


def two_slope_rows(entry: NonlinearityEntry) -> list[tuple[str, str, str, str, str]]:
    """Rows (label, key, value(std), unit, meaning) of a knee, in DN, and the slope beyond it."""
    (knee, slope), (knee_std, slope_std) = entry.coefficients, entry.std
    value = format_value_std(knee * entry.scale_dn, knee_std * entry.scale_dn)
    beyond = format_value_std(slope, slope_std)
    return [
        ("Knee", "nonlinearity", value, "DN", "signal above the offset where the response bends"),
        ("Slope beyond the knee", "nonlinearity", beyond, "1", "over that at small signals"),
    ]


def headline_table(document: NoiseModelDocument) -> Table:
    """Parameter, value(std), unit, meaning."""
    return Table(
        "Parameters",
        (Column("Parameter"), Column("Value", "number"), Column("Unit"), Column("Meaning", wide=True)),
        tuple(
            (Cell(label, note=name), value, unit, meaning)
            for label, name, value, unit, meaning in parameter_rows(document.parameters)
        ),
    )


def channel_table(document: NoiseModelDocument) -> Table:
    """One column for each colour channel."""
    channels = document.channels or {}
    by_channel = {
        channel: {(label, name): (value, unit) for label, name, value, unit, _ in parameter_rows(block)}
        for channel, block in channels.items()
    }
    keys = list(dict.fromkeys(key for rows in by_channel.values() for key in rows))
    rows: list[tuple[str | Cell, ...]] = []
    for key in keys:
        unit = next(rows_[key][1] for rows_ in by_channel.values() if key in rows_)
        cells = [by_channel[channel].get(key, ("–", ""))[0] for channel in channels]
        rows.append((Cell(key[0], note=key[1]), *cells, unit))
    columns = (Column("By colour channel"), *(Column(name, "number") for name in channels), Column("Unit"))
    return Table("Parameters by colour channel", columns, tuple(rows))


def method_blocks(document: NoiseModelDocument) -> tuple[Block, ...]:
    """Method, candidate models, correlations, EMVA 1288 quantities and the levels behind a click."""
    fit = document.fit
    facts = [("Method", fit.method), ("Model", fit.model)]
    if fit.deviance_per_dof is not None:
        dof = "" if fit.dof is None else f", {fit.dof} degrees of freedom"
        facts.append(
            ("Deviance per degree of freedom", f"{fit.deviance_per_dof:.2f}{dof} (1 is a perfect description)")
        )
    blocks: list[Block] = [Facts(tuple(facts))]
    if fit.candidates:
        blocks += [
            Paragraph(
                "Models that were tried, best first: the Bayesian information criterion (BIC) of the best is 0, and "
                f"a difference above {DECISIVE_BIC:g} is decisive."
            ),
            _candidate_table(document),
        ]
    if document.covariance is not None and document.covariance.names:
        blocks += [
            Paragraph("Correlations of the fitted parameters (blue positive, orange negative):"),
            _correlation_table(document),
        ]
    if document.emva1288:
        rows = tuple(
            (
                Cell(name, note=entry.symbol),
                format_value_std(entry.value, entry.std),
                unit_words(entry.unit),
                entry.release,
            )
            for name, entry in document.emva1288.items()
        )
        columns = (Column("EMVA 1288"), Column("Value", "number"), Column("Unit"), Column("Release"))
        blocks.append(Table("EMVA 1288 quantities", columns, rows))
    if document.measurements:
        table = _level_table(document.measurements)
        blocks.append(Details(f"The {len(document.measurements)} measured levels", (table,)))
    return tuple(blocks)


def _candidate_table(document: NoiseModelDocument) -> Table:
    rows = []
    for entry, difference in ranked_candidates(document.fit.candidates):
        chosen = entry.name == document.fit.model
        rows.append(
            (
                Cell(entry.name, note="chosen" if chosen else ""),
                f"{difference:.1f}",
                f"{entry.system_gain_dn_per_e:.6g}",
                f"{entry.deviance_per_dof:.2f}",
            )
        )
    columns = (
        Column("Model"),
        Column("BIC difference", "number"),
        Column("System gain (DN/e⁻)", "number"),
        Column("Deviance / dof", "number"),
    )
    return Table("Candidate models", columns, tuple(rows))


def _correlation_table(document: NoiseModelDocument) -> Table:
    covariance = document.covariance
    if covariance is None:
        raise ValueError("no covariance")
    std, rho = correlation(covariance)
    rows = []
    for i, name in enumerate(covariance.names):
        cells: list[str | Cell] = [Cell(LABELS.get(name, name), note=name), f"{std[i]:.2g}"]
        for j in range(len(covariance.names)):
            known = math.isfinite(rho[i, j])
            tint = max(-1.0, min(1.0, float(rho[i, j]))) if known and i != j else None
            cells.append(Cell(f"{rho[i, j]:+.2f}" if known and i != j else ("1" if known else "–"), tint=tint))
        rows.append(tuple(cells))
    columns = (
        Column("Parameter"),
        Column("Std. error", "number"),
        *(Column(LABELS.get(name, name), "number") for name in covariance.names),
    )
    return Table("Correlations", columns, tuple(rows))


def _level_table(levels: tuple[MeasurementEntry, ...]) -> Table:
    def known(value: float | None) -> str:
        return "–" if value is None else f"{value:.6g}"

    rows = tuple(
        (
            level.kind,
            known(level.exposure_s),
            known(level.photons_per_pixel),
            str(level.n_frames),
            format_value_std(level.mean_dn, level.mean_std_dn),
            known(level.fitted_mean_dn),
            format_value_std(level.variance_dn2, level.variance_std_dn2),
            known(level.fitted_variance_dn2),
            f"{100 * level.clipped_fraction:.3g}",
            "yes" if level.used else "no",
        )
        for level in levels
    )
    titles = (
        "Exposure (s)",
        "Photons",
        "Frames",
        "Mean (DN)",
        "Fitted mean",
        "Variance (DN²)",
        "Fitted variance",
        "Clipped (%)",
    )
    columns = (Column("Level"), *(Column(title, "number") for title in titles), Column("Used"))
    return Table("Measured levels", columns, rows)


def provenance_blocks(document: NoiseModelDocument) -> tuple[Block, ...]:
    """Ranges of validity, number of files and software, and the files behind a click."""
    facts: list[tuple[str, str]] = []
    validity = document.validity
    for label, name, unit in (
        ("Signal", "signal_dn", "DN"),
        ("Exposure", "exposure_s", "s"),
        ("Temperature", "temperature_c", "°C"),
    ):
        span = None if validity is None else getattr(validity, name)
        facts.append((label, "not stated" if span is None else f"{span[0]:g} to {span[1]:g} {unit}"))
    files = document.provenance.files
    facts.append(("Files", f"{len(files)}" if files else "none"))
    facts.append(("Software", document.provenance.software or "not stated"))
    if document.maps is not None:
        facts.append(("Maps", f"{document.maps.file}: {', '.join(document.maps.names)}"))
    blocks: list[Block] = [
        Paragraph("The numbers are measured in these ranges and untested outside them."),
        Facts(tuple(facts)),
    ]
    if validity is None:
        blocks[0] = Paragraph("No range is stated in which the numbers hold.")
    if files:
        rows = tuple((entry.path, entry.sha256) for entry in files[:_MOST_FILES])
        inner: tuple[Block, ...] = (Table("Files", (Column("File"), Column("SHA-256")), rows),)
        if len(files) > _MOST_FILES:
            inner += (Paragraph(f"and {len(files) - _MOST_FILES} more, in the noise-model file.", small=True),)
        blocks.append(Details(f"The {len(files)} files", inner))
    return tuple(blocks)
