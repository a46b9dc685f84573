"""mi-eval sweep: many settings scored, kept, and ranked."""

from __future__ import annotations

from pathlib import Path

import click

from calibrate.plumbing.command_line import SETTINGS, command_options, note, print_json


@click.command(context_settings=SETTINGS)
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes on this machine.")
@click.option("--cluster", metavar="ADDRESS", help="Run the cells on the Dask cluster of this scheduler.")
@click.option("--json", "as_json", is_flag=True, help="The summary as one JSON object on stdout.")
@click.option("--force", is_flag=True, help="Score every cell anew, also those that have a result.")
@command_options
def sweep(config: Path, output: Path, jobs: int, cluster: str | None, as_json: bool, force: bool) -> None:
    """Score every camera, gain setting, exposure, patch size and seed that CONFIG (YAML) names, and rank them.

    Results that are there and still belong to the same frames, noise model and release are kept: run the command
    again after an interruption or with more settings. What-if cases re-simulate the scenes with another camera.
    """
    import json

    from calibrate.plumbing.atomic import atomic_outputs
    from calibrate.plumbing.errors import PhotonbitsError
    from mi_eval.report.sweep import render_sweep_report
    from mi_eval.sweep.cells import cells_of
    from mi_eval.sweep.config import load_config
    from mi_eval.sweep.run import run_sweep
    from mi_eval.sweep.summary import summarize
    from mi_eval.sweep.table import summary_csv, summary_text

    cells = cells_of(load_config(config))
    if output.exists() and not output.is_dir():
        raise PhotonbitsError(f"the output {output} is a file", legal="the name of a folder")
    if cluster is not None and jobs != 1:
        raise PhotonbitsError("--jobs with --cluster", legal="one of them: the cluster's workers are its own")
    outcome = run_sweep(cells, output, jobs=jobs, cluster=cluster, again=force, say=note)
    summary = summarize(outcome)
    texts = {
        output / "summary.csv": summary_csv(summary),
        output / "summary.html": render_sweep_report(summary),
        output / "summary.json": json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    with atomic_outputs(list(texts), overwrite=True) as temporary:
        for place, text in zip(temporary, texts.values(), strict=True):
            place.write_text(text, encoding="utf-8")
    note(f"Wrote summary.json, summary.csv and summary.html in {output}")
    if outcome.failures:
        named = "; ".join(f"{result.cell.name}: {result.record['error']}" for result in outcome.failures)
        raise PhotonbitsError(
            f"{len(outcome.failures)} of {len(cells)} cells failed: {named}",
            where=output,
            remedy="Correct them and run the same command again: finished cells are kept",
        )
    if as_json:
        print_json(summary)
    else:
        click.echo(summary_text(summary))
