"""mi-eval design: imaging systems that carry more information."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibrate.plumbing.command_line import SETTINGS, check_output_folder, command_options, note, print_json

if TYPE_CHECKING:
    from mi_eval.design import DesignConfig, DesignResult


@click.command(context_settings=SETTINGS)
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option("--cluster", metavar="ADDRESS", help="Run the restarts on the Dask cluster of this scheduler.")
@click.option("--json", "as_json", is_flag=True, help="The content of design.json as one JSON object on stdout.")
@click.option("--deterministic", is_flag=True, help="Leave out timings: the same bytes every time.")
@click.option("--force", is_flag=True, help="Replace existing results, and start anew instead of resuming.")
@command_options
def design(config: Path, output: Path, cluster: str | None, as_json: bool, deterministic: bool, force: bool) -> None:
    """Design the imaging system of CONFIG so that a sensor's frames carry more information.

    CONFIG (YAML) names the system with its physical limits, the objects, the sensor and the light. Gradient ascent
    from several starts maximises an estimate of the information; an independent estimate on simulated raw frames
    audits the result beside the conventional design. DIR gets design.json, design.npz and report.html. A stopped run
    resumes from its checkpoint in DIR, with or without a cluster, which keeps every restart that has ended.
    """
    import json

    from calibrate.plumbing.atomic import atomic_outputs
    from mi_eval.design import load_config
    from mi_eval.report.design_page import render_design_report

    loaded = load_config(config)
    places = check_output_folder(output, ("design.npz", "report.html", "design.json"), overwrite=force)
    checkpoint = output / "checkpoint.npz"
    if force:
        checkpoint.unlink(missing_ok=True)
    elif checkpoint.exists():
        note(f"Resuming from {checkpoint}")
    result = _run(loaded, checkpoint, cluster)
    content = result.to_dict(timed=not deterministic)
    output.mkdir(parents=True, exist_ok=True)
    with atomic_outputs(places, overwrite=force) as (npz, page, text):
        npz.write_bytes(result.after.to_bytes())
        page.write_text(render_design_report(result, timed=not deterministic), encoding="utf-8")
        text.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    if as_json:
        print_json(content)
    else:
        click.echo(_summary(content))
    for path in places:
        note(f"Wrote {path}")


def _run(config: DesignConfig, checkpoint: Path, cluster: str | None) -> DesignResult:
    from mi_eval.design import optimise

    arguments = {"audit": config.audit(), "start": config.start(), "checkpoint": checkpoint}
    if cluster is None:
        return optimise(config.problem(), config.optimiser(), **arguments)  # type: ignore[arg-type]
    from mi_eval.design.cluster import cluster_mapper

    with cluster_mapper(cluster) as mapper:
        return optimise(config.problem(), config.optimiser(), mapper=mapper, **arguments)  # type: ignore[arg-type]


def _summary(content: dict[str, Any]) -> str:
    """The result in words, for people."""
    from calibrate.plumbing.tables import format_table

    surrogate, audit = content["surrogate_bits_per_pixel"], content["audit"]
    rows = [["surrogate", f"{surrogate['before']:.4f}", f"{surrogate['after']:.4f}"]]
    headline = f"{content['system']['title']}: surrogate {surrogate['before']:.4f} -> {surrogate['after']:.4f} bit/px"
    if audit["after"] is not None:
        both = (audit["before"], audit["after"])
        rows.append(["audit", *(f"{entry['value']:.4f}" for entry in both)])
        rows.append(["95 % interval", *(f"{entry['ci95'][0]:.4f} to {entry['ci95'][1]:.4f}" for entry in both)])
        gain = audit["gain_bits_per_pixel"]
        low, high = gain["ci95"]
        headline = (
            f"{content['system']['title']}: {gain['value']:+.4f} bit/px in the audit, 95 % interval {low:+.4f} to "
            f"{high:+.4f}"
        )
    limits = [
        [
            entry["name"],
            f"{entry['used']:.4g}",
            f"{entry['value']:.4g}",
            entry["unit"],
            "yes" if entry["active"] else "no",
        ]
        for entry in content["limits"]
    ]
    parts = [
        headline,
        "",
        format_table(["bit/px", "conventional", "designed"], rows, align="lrr"),
        "",
        format_table(["limit", "used", "allowed", "unit", "active"], limits, align="lrrll"),
    ]
    if content["flags"]:
        parts += ["", "Doubts:"] + [f"  {entry['code']}: {entry['message']}" for entry in content["flags"]]
    return "\n".join(parts)
