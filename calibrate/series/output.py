"""The folder of a series: written whole or not at all, and never over anything else."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrate.plumbing.errors import PhotonbitsError
from calibrate.series.fit import Series
from calibrate.series.page import render_series
from calibrate.series.summary import SCHEMA_NAME, series_summary

SUMMARY = "summary.json"
PAGE = "summary.html"


def check_series_folder(folder: str | Path, *, overwrite: bool) -> Path:
    """The folder that will be written, checked before the work that fills it.

    Raises
    ------
    PhotonbitsError
        It is named like a file or is one; it holds something and `overwrite` is false, or something other than a
        series; the folder above does not exist.
    """
    target = Path(folder)
    if target.suffix.lower() in (".yaml", ".yml", ".json", ".html"):
        raise PhotonbitsError(
            f"the output {folder} is the name of one file, and the captures have several settings",
            legal="the name of a folder, which gets one YAML for each setting and summary.json",
            remedy=f"Pass -o {target.with_suffix('')}",
        )
    target = target.resolve()
    if not target.parent.is_dir():
        raise PhotonbitsError(f"the folder {target.parent} does not exist", remedy="Create it, or choose another name")
    if not target.exists():
        return target
    if not target.is_dir():
        raise PhotonbitsError(f"the output {folder} is a file", legal="the name of a folder")
    found = sorted(child.name for child in target.iterdir())
    if not found:
        return target
    if not overwrite:
        raise PhotonbitsError(
            f"the folder {folder} exists and is not empty", remedy="Pass --force to replace it, or choose another name"
        )
    strange = sorted(set(found) - _own_files(target))
    if strange:
        raise PhotonbitsError(
            f"the folder {folder} holds files that no series has written, the first {strange[0]}",
            legal="an empty folder, or a series written before",
            remedy="Choose another name, or move them away",
        )
    return target


def _own_files(folder: Path) -> set[str]:
    """Names that the folder's own summary lists."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if summary["schema"] != SCHEMA_NAME:
            return set()
        listed = [*summary["files"], *(name for entry in summary["settings"] for name in entry["files"])]
        return {SUMMARY, *(str(name) for name in listed)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def write_series(
    series: Series,
    folder: str | Path,
    *,
    overwrite: bool = False,
    pages: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write NAME.yaml (and NAME_maps.npz) for each setting, summary.json and summary.html.

    Parameters
    ----------
    series : Series
    folder : path
        Appears complete or not at all; replaced only where `overwrite` is true and it held a series.
    pages : mapping of str to str, optional
        HTML page of settings by name, written as NAME.html.

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    PhotonbitsError
        As `check_series_folder`.
    """
    target = check_series_folder(folder, overwrite=overwrite)
    partial = _beside(target, "partial")
    partial.mkdir()
    try:
        files: dict[str, list[str]] = {}
        for entry in series.fitted:
            before = {child.name for child in partial.iterdir()}
            entry.model.save(partial / f"{entry.name}.yaml", overwrite=False)
            if pages is not None and entry.name in pages:
                (partial / f"{entry.name}.html").write_bytes(pages[entry.name].encode("utf-8"))
            files[entry.name] = sorted({child.name for child in partial.iterdir()} - before)
        files[""] = [PAGE, SUMMARY]
        summary = series_summary(series, files)
        (partial / PAGE).write_bytes(render_series(series).encode("utf-8"))
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (partial / SUMMARY).write_bytes(text.encode("utf-8"))
        check_series_folder(folder, overwrite=overwrite)  # the work may have taken an hour
        _put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return summary


def _put_in_place(partial: Path, target: Path) -> None:
    """Swap the folders; the old one is gone only when the new one stands."""
    if not target.exists():
        partial.replace(target)
        return
    old = _beside(target, "old")
    target.replace(old)
    try:
        partial.replace(target)
    except OSError:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path, word: str) -> Path:
    return target.with_name(f".{target.name[:80]}.{secrets.token_hex(6)}.{word}")
