"""mi-eval truth: the estimate beside known information."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from calibrate.plumbing.command_line import SETTINGS, command_options, note, print_json
from mi_eval.truth.registry import CASES

if TYPE_CHECKING:
    from mi_eval.truth.measure import TruthResult

_WIDTH = max(map(len, CASES)) + 2
_LIST = "\b\nCases:\n" + "\n".join(f"  {name:<{_WIDTH}}{case.description}" for name, case in CASES.items())


@click.command(context_settings=SETTINGS, epilog=_LIST)
@click.argument("cases", nargs=-1, metavar="[CASE]...", type=click.Choice(list(CASES)))
@click.option("--patches", type=click.IntRange(min=16), default=5000, show_default=True, help="Patches of every case.")
@click.option("--patch-size", type=int, default=16, show_default=True, help="Side of the patches, pixels.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of frames and estimate.")
@click.option("--json", "as_json", is_flag=True, help="All results as one JSON object on stdout.")
@command_options
def truth(cases: tuple[str, ...], patches: int, patch_size: int, seed: int, as_json: bool) -> None:
    """Run the estimate on sources whose information is known, CASE by CASE; all of them by default.

    Prints bits per pixel found and true, the error, the 95 % interval and CPU seconds. It is a measurement: a
    wrong estimate is reported and ends with status 0.
    """
    from calibrate.plumbing.errors import PhotonbitsError
    from calibrate.plumbing.progress import track
    from mi_eval.truth.measure import measure_case

    wanted = list(dict.fromkeys(cases)) or list(CASES)
    results: list[TruthResult] = []
    skipped: list[PhotonbitsError] = []
    for name in track(wanted, "Measuring cases"):
        try:
            results.append(measure_case(name, patches=patches, patch_size=patch_size, seed=seed))
        except PhotonbitsError as error:
            # A case that was asked for must run; of all cases, those that can.
            if cases:
                raise
            skipped.append(error)
            note(f"{name} is left out: {error}")
    if skipped and not results:
        raise skipped[0]
    if as_json:
        print_json({"cases": [result.to_dict() for result in results]})
    else:
        click.echo(_table(results))


def _table(results: list[TruthResult]) -> str:
    """Results for people, and how many intervals hold the truth."""
    from calibrate.plumbing.tables import format_table, format_value_std

    rows = [
        [
            result.case,
            format_value_std(result.found, result.std),
            f"{result.true:.5f}" if result.true_std == 0 else format_value_std(result.true, result.true_std),
            f"{result.error:+.4f}",
            f"{result.interval[0]:.4f} to {result.interval[1]:.4f}",
            "yes" if result.inside else "no",
            f"{result.seconds:.1f}",
        ]
        for result in results
    ]
    headers = ["case", "found", "true", "error", "95 % interval", "inside", "CPU s"]
    inside = sum(result.inside for result in results)
    first = results[0]
    return "\n".join(
        [
            f"Bits per pixel, patches of {first.patch_size} x {first.patch_size} pixels, seed {first.seed}:",
            "",
            format_table(headers, rows, align="lrrrrlr"),
            "",
            f"The truth lies in {inside} of {len(results)} intervals.",
        ]
    )
