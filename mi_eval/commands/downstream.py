"""mi-eval downstream: whether designs with more information give better results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from calibrate.plumbing.command_line import SETTINGS, check_output_folder, command_options, note, print_json

if TYPE_CHECKING:
    from mi_eval.design import DesignProblem
    from mi_eval.downstream.side_by_side import Cost
    from mi_eval.systems import SystemDesign

_FEWEST_DESIGNS = 5


@click.command(context_settings=SETTINGS)
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("designs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option("--json", "as_json", is_flag=True, help="The content of downstream.json as one JSON object on stdout.")
@click.option("--deterministic", is_flag=True, help="Leave out timings: the same bytes every time.")
@click.option("--force", is_flag=True, help="Replace existing results.")
@command_options
def downstream(
    config: Path, designs: tuple[Path, ...], output: Path, as_json: bool, deterministic: bool, force: bool
) -> None:
    """Test whether those of the saved DESIGNS that carry more information give better results.

    CONFIG (YAML) is that of a design with a section `downstream`: decoders, frames and seeds. Every design (npz of
    mi-eval design; 5 or more) is audited, and every decoder trained and tested on it, with the same objects for all.
    DIR gets downstream.json and report.html: how many pairs of designs are ordered alike, and the rank correlation.
    With `end_to_end` in that section optics and decoder are trained together too, and stand beside the designs by
    result, seconds and peak memory; DIR gets their optics as end_to_end_SEED.npz.
    """
    import json

    from calibrate.plumbing.atomic import atomic_outputs
    from calibrate.plumbing.progress import track
    from mi_eval.design import audit_design
    from mi_eval.downstream import evaluate_designs, rank_designs
    from mi_eval.downstream.config import load_downstream_config
    from mi_eval.downstream.side_by_side import compare_end_to_end
    from mi_eval.report.downstream_page import render_downstream_report

    loaded = load_downstream_config(config)
    problem, decoders, settings = loaded.design.problem(), loaded.decoders(), loaded.settings()
    joint = loaded.end_to_end()
    optics = () if joint is None else tuple(f"end_to_end_{seed}.npz" for seed in settings.seeds)
    places = check_output_folder(output, (*optics, "report.html", "downstream.json"), overwrite=force)
    named = _load(designs, problem)
    audits = {n: audit_design(d, problem, loaded.design.audit()) for n, d in track(list(named.items()), "Auditing")}
    evaluations = [evaluate_designs(named, problem, decoder, settings) for decoder in decoders]
    rankings = [rank_designs(audits, e, metric.name) for e in evaluations for metric in e.metrics if metric.ranked]
    timed, beside = not deterministic, None
    if joint is not None:
        costs = {name: cost for name, cost in zip(named, map(_cost, designs), strict=True) if cost is not None}
        beside = compare_end_to_end(named, problem, joint, settings, design_costs=costs)
    content: dict[str, Any] = {
        "schema": "photonbits/downstream-result",
        "schema_version": 1,
        "objects": {**problem.objects.to_dict(), "description": problem.objects.describe()},
        "audits": {name: audit.to_dict(timed=timed) for name, audit in audits.items()},
        "evaluations": [evaluation.to_dict(timed=timed) for evaluation in evaluations],
        "rankings": [{"decoder": r.title, **r.to_dict()} for r in rankings],
    }
    if beside is not None:
        content["end_to_end"] = beside.to_dict(timed=timed)
    title = f"{problem.system.title}: information and results"
    output.mkdir(parents=True, exist_ok=True)
    facts = [("Objects", problem.objects.describe()), ("System", problem.system.title)]
    with atomic_outputs(places, overwrite=force) as (*trained, page, text):
        for place, design in zip(trained, () if beside is None else beside.together.values(), strict=True):
            place.write_bytes(design.to_bytes())
        rendered = render_downstream_report(
            rankings, evaluations, title=title, facts=facts, timed=timed, end_to_end=beside
        )
        page.write_text(rendered, encoding="utf-8")
        text.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if as_json:
        print_json(content)
    else:
        click.echo(_summary(content))
    for path in places:
        note(f"Wrote {path}")


def _load(paths: Sequence[Path], problem: DesignProblem) -> dict[str, SystemDesign]:
    """Designs by the shortest name that tells them apart: file, or folder and file."""
    from calibrate import PhotonbitsError
    from mi_eval.downstream.evaluate import check_fits
    from mi_eval.systems import SystemDesign

    if len(paths) < _FEWEST_DESIGNS:
        raise PhotonbitsError(f"{len(paths)} designs", legal=f"{_FEWEST_DESIGNS} or more")
    loaded = [SystemDesign.load(path) for path in paths]  # before names: a damaged file is what to mend first
    for path, one in zip(paths, loaded, strict=True):
        check_fits(one, problem, path)
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else [f"{path.parent.name}/{path.stem}" for path in paths]
    repeated = [path for path in paths if [other.resolve() for other in paths].count(path.resolve()) > 1]
    if repeated:
        raise PhotonbitsError(f"{repeated[0]} more than once", legal="every design once")
    if len(set(names)) < len(names):
        raise PhotonbitsError("designs of one name", legal="files that differ in name or folder")
    return dict(zip(names, loaded, strict=True))


def _cost(path: Path) -> Cost | None:
    """What a design took, as the design.json beside it says; None where nothing does."""
    import json

    from mi_eval.design.result import SCHEMA
    from mi_eval.downstream.side_by_side import Cost

    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        cost = content["cost"]
        return None if content["schema"] != SCHEMA else Cost(float(cost["cpu_seconds"]), float(cost["peak_memory_mb"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _summary(content: dict[str, Any]) -> str:
    """The rankings in words, for people."""
    from calibrate.plumbing.tables import format_table

    rows = []
    for entry in content["rankings"]:
        pairs, (low, high) = entry["pairs"]["significant_information"], entry["spearman"]["ci95"]
        alike = f"{pairs['ordered_alike']} of {pairs['pairs']}"
        rows.append(
            [entry["decoder"], entry["metric"], alike, f"{entry['spearman']['value']:.2f}", f"{low:.2f} to {high:.2f}"]
        )
    table = format_table(["decoder", "metric", "pairs alike", "rank correlation", "95 % interval"], rows, align="llrrr")
    return table if "end_to_end" not in content else f"{table}\n\n{_beside(content['end_to_end'])}"


def _beside(content: dict[str, Any]) -> str:
    """Designs beside the joint training."""
    from calibrate.plumbing.tables import format_table

    metric, rows = content["metrics"][0]["name"], []
    for entry in content["designs"]:
        result, apart, cost = entry["metrics"][metric], entry["less_together"], entry.get("cost")
        row = [entry["name"], f"{result['value']:.3f}", "" if apart is None else f"{apart['value']:+.3f}"]
        row.append("" if apart is None else f"{apart['std']:.3f}")
        if cost is not None:
            design, whole = cost["design"], cost["whole"]
            row.append("" if design is None else f"{design['cpu_seconds']:.1f}")
            row.append(f"{sum(run['cpu_seconds'] for run in cost['training']) / len(cost['training']):.1f}")
            row.append("" if whole is None else f"{cost['seconds_over_together']:.2f}")
            row.append(f"{max(run['peak_memory_mb'] for run in cost['training']):.0f}")
        rows.append(row)
    heads = ["design", metric, "less together", "std"]
    heads += ["design s", "training s", "over together", "MiB"] if len(rows[0]) > len(heads) else []
    return format_table(heads, rows, align="l" + "r" * (len(heads) - 1))
