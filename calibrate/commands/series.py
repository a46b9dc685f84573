"""What `calibrate fit` does with captures at several settings: a folder with one noise model each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from calibrate.plumbing.command_line import check_outputs, note, print_json
from calibrate.plumbing.errors import PhotonbitsError

if TYPE_CHECKING:
    from calibrate.captures import CaptureSet
    from calibrate.noise_model import NoiseModel


def fit_several(
    captures: CaptureSet,
    folder: Path,
    fit: Callable[[CaptureSet], NoiseModel],
    *,
    report: Path | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Fit every setting, write the folder, and print the table of settings or the summary as JSON.

    With ``report`` the page of the series goes there as well, and the folder gets a page for each setting.

    Raises
    ------
    PhotonbitsError
        As `calibrate.series.fit_series` and `calibrate.series.write_series`.
    """
    from calibrate.plumbing.atomic import write_text_atomically
    from calibrate.series import check_series_folder, fit_series, format_series, render_series, write_series

    check_series_folder(folder, overwrite=overwrite)
    if report is not None and folder.resolve() in report.resolve().parents:
        raise PhotonbitsError(
            f"the report {report} lies in the output folder",
            legal="a place outside of it: the folder gets a page of its own, summary.html",
            remedy="Choose another place for --report",
        )
    check_outputs((report,), overwrite=overwrite)
    for remark in captures.notes:
        note(f"Note: {remark}.")
    series = fit_series(captures, fit, announce=note)
    pages = None
    if report is not None:
        from calibrate.report import render_report

        pages = {entry.name: render_report(entry.model) for entry in series.fitted}
    summary = write_series(series, folder, overwrite=overwrite, pages=pages)
    if report is not None:
        write_text_atomically(report, render_series(series), overwrite=overwrite)
    if as_json:
        print_json(summary)
    else:
        click.echo(format_series(series))
    for entry in series.not_fitted:
        note(f"Not fitted: {entry.setting.words}: {entry.reason}")
    for path in (folder, report):
        if path is not None:
            note(f"Wrote {path}")
