"""mi-eval edge: sharpness, noise and the capacity of an assumed signal from one slanted edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from calibrate.plumbing.command_line import SETTINGS, check_outputs, command_options, note, print_json, write_texts


@click.command(context_settings=SETTINGS)
@click.argument("frame", type=click.Path(path_type=Path))
@click.option("--noise-model", type=click.Path(path_type=Path), required=True, help="Noise model of the camera (YAML).")
@click.option("--plane", help="Plane of a mosaic: R, G1 (green of the red rows), G2, B, or ROW,COLUMN as 0,1.")
@click.option("--roi", metavar="X,Y,W,H", help="Region with the edge, in pixels of the plane; found by default.")
@click.option("--exposure-s", type=float, help="Exposure of the frame: leaves dark charge out of the signal.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the measurement as JSON.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML report.")
@click.option("--json", "as_json", is_flag=True, help="The measurement as one JSON object on stdout.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@command_options
def edge(
    frame: Path,
    noise_model: Path,
    plane: str | None,
    roi: str | None,
    exposure_s: float | None,
    output: Path | None,
    report: Path | None,
    as_json: bool,
    force: bool,
) -> None:
    """Measure one raw FRAME of a slanted edge: MTF, noise spectrum, noise-equivalent quanta.

    Also the Shannon capacity of an assumed signal, as chart software reports it. It is no mutual information: never
    rank it against a score.
    """
    import json

    from mi_eval.edge import measure_edge

    box = None if roi is None else _box(roi)
    check_outputs((output, report), overwrite=force)
    found = measure_edge(frame, noise_model, plane=plane, roi=box, exposure_s=exposure_s)
    content = found.to_dict()
    outputs: dict[Path, str] = {}
    if report is not None:
        from mi_eval.report import render_edge_report

        outputs[report] = render_edge_report(found)
    if output is not None:
        outputs[output] = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_texts(outputs, overwrite=force)
    if as_json:
        print_json(content)
    else:
        click.echo(_summary(content))
    for path in outputs:
        note(f"Wrote {path}")


def _box(text: str) -> tuple[int, ...]:
    """X,Y,W,H as numbers."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"{text!r} is not X,Y,W,H, four whole numbers", param_hint="--roi")
    return tuple(int(part) for part in parts)


def _summary(content: dict[str, Any]) -> str:
    """The measurement in words, for people."""
    from calibrate.plumbing.tables import format_table, format_value_std

    def shown(entry: dict[str, float] | None) -> str:
        return "none" if entry is None else format_value_std(entry["value"], entry["std"])

    place = content["edge"]
    signal = content["signal"]
    region = place["region"]
    rows = [
        ["MTF50", shown(content["mtf50_cycles_per_px"]), "cycles/px"],
        ["MTF10", shown(content["mtf10_cycles_per_px"]), "cycles/px"],
        ["MTF at Nyquist", shown(content["mtf_at_nyquist"]), ""],
        ["10-90 % rise", shown(place["rise_distance_10_90_px"]), "px"],
        ["edge angle", shown(place["angle_degrees"]), "degrees"],
        ["dark side", shown(signal["dark_e"]), "e-"],
        ["bright side", shown(signal["bright_e"]), "e-"],
        ["step V_pp", shown(signal["vpp_e"]), "e-"],
        ["step V_pp", shown(signal["vpp_dn"]), "DN"],
    ]
    rows += [
        [f"noise, {side} side, measured / model", shown(entry["measured_over_model"]), "variance"]
        for side, entry in content["noise"].items()
    ]
    capacities = [
        [entry["form"], entry["noise"], shown(entry["bits_per_pixel"]), f"{entry['prefactor']:g}"]
        for entry in content["assumed_signal_capacity"]["values"]
    ]
    pitch = content["frame"]["sensor_pixels_per_plane_pixel"]
    name = content["frame"]["plane"]
    parts = [
        f"Edge along the {place['along']} in {place['lines']} lines, region {region['x']},{region['y']},"
        f"{region['width']},{region['height']}"
        + ("" if name is None else f" of plane {name}; a pixel of the plane is {pitch} sensor pixels"),
        "",
        format_table(["quantity", "value", "unit"], rows, align="lrl"),
        "",
        "Capacity of the assumed signal (V_pp MTF)^2 / 12, bit per pixel; not a mutual information:",
        "",
        format_table(["form", "noise", "value", "prefactor"], capacities, align="llrr"),
    ]
    if content["warnings"]:
        parts += ["", "Doubts:"] + [f"  {doubt['code']}: {doubt['message']}" for doubt in content["warnings"]]
    return "\n".join(parts)
