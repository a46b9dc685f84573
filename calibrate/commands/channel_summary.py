"""The numbers of a noise model's channels as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from calibrate.noise_model import NoiseModel


def print_channels(model: NoiseModel) -> None:
    """Print parameters by channel, and whether they differ; nothing for a sensor without channels."""
    from calibrate.plumbing.tables import format_table, format_value_std
    from calibrate.schema import PARAMETERS, ParameterEntry

    document = model.document
    if not document.channels or model.channel_layout is None:
        return
    tests = (document.channel_layout.differences if document.channel_layout else None) or {}
    rows = []
    for name, (unit, _) in PARAMETERS.items():
        entries = [block.get(name) for block in document.channels.values()]
        if not any(isinstance(entry, ParameterEntry) for entry in entries):
            continue
        cells = [format_value_std(e.value, e.std) if isinstance(e, ParameterEntry) else "-" for e in entries]
        p_value = f"{tests[name].p_value:.2g}" if name in tests else ""
        rows.append([name, *cells, unit, p_value])
    align = "l" + "r" * len(document.channels) + "lr"
    click.echo(f"\nBy channel ({model.channel_layout.words}):")
    click.echo(format_table(["parameter", *document.channels, "unit", "p if equal"], rows, align=align))
