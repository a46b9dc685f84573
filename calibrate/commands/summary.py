"""The numbers and the doubts of a noise model as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from calibrate.noise_model import NoiseModel
    from calibrate.schema import DefectsEntry


def print_summary(model: NoiseModel) -> None:
    """Print a model's parameters, fit quality and doubts on stdout."""
    from calibrate.plumbing.tables import format_table, format_value_std
    from calibrate.report.tables import two_slope_rows
    from calibrate.schema import PARAMETERS, ParameterEntry

    rows = []
    for name, entry in model.document.parameters.items():
        if isinstance(entry, ParameterEntry):
            rows.append([name, format_value_std(entry.value, entry.std), entry.unit, PARAMETERS[name][1]])
        elif entry.form == "two-slope":
            rows += [[label.lower(), value, unit, meaning] for label, _, value, unit, meaning in two_slope_rows(entry)]
        else:
            for power, (value, std) in enumerate(zip(entry.coefficients, entry.std, strict=True), start=1):
                rows.append([f"nonlinearity c{power}", format_value_std(value, std), "1", PARAMETERS[name][1]])
    click.echo(format_table(["parameter", "value", "unit", "meaning"], rows, align="lrll"))
    excess = model.document.excess_noise
    if excess is not None:
        inputs = [
            [name, format_value_std(entry.value, entry.std), entry.unit]
            for name, entry in excess.input_parameters.items()
        ]
        click.echo(f"\nIn input electrons, F^2 = {excess.factor:g}:")
        click.echo(format_table(["parameter", "value", "unit"], inputs, align="lrl"))
    fitted = model.document.fit
    quality = (
        "" if fitted.deviance_per_dof is None else f", deviance {fitted.deviance_per_dof:.2f} per degree of freedom"
    )
    click.echo(f"\nModel: {fitted.model.replace('_', ' ')}{quality}")
    if fitted.flags:
        click.echo("\nDoubts:")
        for doubt in fitted.flags:
            click.echo(f"  {doubt.code}: {doubt.message}")
    else:
        click.echo("\nNo doubts were raised.")
    if model.document.defects is not None:
        _print_defects(model.document.defects)


def _print_defects(defects: DefectsEntry) -> None:
    from calibrate.noise_model.defect_kinds import not_looked_for

    counts = ", ".join(f"{name} {entry.count}" for name, entry in defects.kinds.items())
    click.echo(f"\nDefective pixels: {defects.n_pixels} ({counts}).")
    if note := not_looked_for(defects.kinds):
        click.echo(note)
