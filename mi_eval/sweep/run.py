"""Run the cells of a sweep, here or on a cluster, and keep each result in a file of its own."""

from __future__ import annotations

import importlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from calibrate import PhotonbitsError, __version__
from calibrate.plumbing.atomic import write_text_atomically
from mi_eval.estimate import estimate_information
from mi_eval.sweep.cells import FileStamp, SweepCell, cell_digest, file_stamps
from mi_eval.sweep.compute import Score, compute_cell

CELL_SCHEMA = "photonbits/sweep-cell"
_CLUSTER_TIMEOUT_S = 10.0
Work = Callable[[SweepCell], dict[str, Any]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class CellResult:
    """A cell with what came out of it, as its file holds it."""

    cell: SweepCell
    record: dict[str, Any]

    @property
    def failed(self) -> bool:
        """Whether there is an error in the place of a score."""
        return bool(self.record["status"] != "done")


@dataclass(frozen=True)
class SweepOutcome:
    """All cells in the order of the sweep, and how many of them were computed now."""

    results: tuple[CellResult, ...]
    computed: int

    @property
    def failures(self) -> tuple[CellResult, ...]:
        """Cells without a score."""
        return tuple(result for result in self.results if result.failed)


def run_sweep(
    cells: Sequence[SweepCell],
    folder: str | Path,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    again: bool = False,
    score: Score = estimate_information,
    say: Say = lambda line: None,
) -> SweepOutcome:
    """Score the cells that have no valid result in ``folder`` yet, and return all results.

    Parameters
    ----------
    cells : sequence of SweepCell
    folder : path
        Results go to ``folder/cells``, a JSON file each, written whole or not at all. A file is valid where its
        digest (`cell_digest`) is that of the cell and it holds a score; failed cells are tried again.
    jobs : int
        Processes on this machine.
    cluster : str, optional
        Address of a Dask scheduler (``tcp://host:8786``), whose workers must see the same files at the same paths.
    again : bool
        Whether valid results are computed anew.
    score : callable
        Takes what `estimate_information` takes; must be picklable for more than one process.
    say : callable
        Gets one line for each finished cell.

    Raises
    ------
    PhotonbitsError
        If the folder cannot be written, ``jobs`` is not positive, or the cluster cannot be reached.
    """
    if jobs < 1:
        raise PhotonbitsError(f"jobs is {jobs}", legal="1 or more processes")
    place = Path(folder) / "cells"
    place.mkdir(parents=True, exist_ok=True)
    done: dict[SweepCell, dict[str, Any]] = {}
    waiting: list[SweepCell] = []
    digests: dict[SweepCell, str] = {}
    stamps: dict[tuple[Path, ...], tuple[FileStamp, ...]] = {}
    finished = 0

    def finish(cell: SweepCell, record: dict[str, Any], kept: bool = False) -> None:
        nonlocal finished
        finished += 1
        done[cell] = record
        outcome = _outcome(record) + (" (kept)" if kept else "")
        say(f"[{finished}/{len(cells)}] {cell.setting.name}, {cell.patch_size} px, seed {cell.seed}: {outcome}")

    for cell in cells:
        try:
            paths = cell.setting.frames
            if paths not in stamps:
                stamps[paths] = file_stamps(paths)
            digests[cell] = cell_digest(cell, __version__, stamps[paths])
        except (PhotonbitsError, OSError) as error:
            finish(cell, _store(place, cell, None, {"status": "failed", "error": str(error)}))
            continue
        kept = None if again else _stored(result_path(place, cell, digests[cell]), digests[cell])
        if kept is None:
            waiting.append(cell)
        else:
            finish(cell, kept, kept=True)
    work = partial(compute_cell, score=score)
    for cell, record in _computed(waiting, work, jobs, cluster):
        finish(cell, _store(place, cell, digests[cell], record))
    return SweepOutcome(tuple(CellResult(cell, done[cell]) for cell in cells), len(waiting))


def result_path(place: Path, cell: SweepCell, digest: str | None) -> Path:
    """File of a cell's result: its name and the beginning of its digest."""
    return place / f"{cell.name}_{'no-input' if digest is None else digest[:12]}.json"


def _computed(
    cells: Sequence[SweepCell], work: Work, jobs: int, cluster: str | None
) -> Iterator[tuple[SweepCell, dict[str, Any]]]:
    """Yield cells with their results as they come."""
    if not cells:
        return
    if cluster is not None:
        yield from _on_cluster(cells, work, cluster)
    elif jobs == 1:
        for cell in cells:
            yield cell, work(cell)
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(cells)), mp_context=context) as pool:
            running = {pool.submit(work, cell): cell for cell in cells}
            for future in as_completed(running):
                yield running[future], future.result()


def _on_cluster(cells: Sequence[SweepCell], work: Work, address: str) -> Iterator[tuple[SweepCell, dict[str, Any]]]:
    try:
        distributed: Any = importlib.import_module("dask.distributed")
    except ImportError as error:
        raise PhotonbitsError(
            "a cluster needs dask.distributed, which is not installed",
            remedy="Install it with: pip install 'photonbits[cluster]'",
        ) from error
    try:
        client = distributed.Client(address, timeout=_CLUSTER_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise PhotonbitsError(
            f"no Dask scheduler answers at {address}: {str(error) or type(error).__name__}",
            legal="the address of a running scheduler, as tcp://host:8786",
            remedy="Start one with: dask scheduler, and workers with: dask worker ADDRESS",
        ) from error
    with client, client.as_current():
        running = {client.submit(work, cell, pure=False): cell for cell in cells}
        for future in distributed.as_completed(running):
            yield running[future], future.result()


def _store(place: Path, cell: SweepCell, digest: str | None, record: dict[str, Any]) -> dict[str, Any]:
    """Write a result and return it as written."""
    setting = cell.setting
    full = {
        "schema": CELL_SCHEMA,
        "cell": cell.name,
        "digest": digest,
        "setting": {
            "name": setting.name,
            "group": setting.group,
            "kind": setting.kind,
            "camera": setting.camera,
            "gain_setting": setting.gain_setting,
            "exposure_s": setting.exposure_s,
            "scenes": setting.scenes,
            "of": setting.of,
            "repeats": setting.repeats,
            "changes": dict(setting.changes),
        },
        "patch_size": cell.patch_size,
        "seed": cell.seed,
        "max_patches": cell.max_patches,
        "density": cell.density,
        "version": __version__,
        **record,
    }
    text = json.dumps(full, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text_atomically(result_path(place, cell, digest), text, overwrite=True)
    if digest is not None:
        result_path(place, cell, None).unlink(missing_ok=True)
    return full


def _stored(path: Path, digest: str) -> dict[str, Any] | None:
    """A result that is there, whole and of the same digest; None where the cell has to be run."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("digest") != digest or record.get("status") != "done":
        return None
    return record


def _outcome(record: dict[str, Any]) -> str:
    if record["status"] != "done":
        return f"failed: {record['error']}"
    information = record["score"]["mutual_information_bits_per_pixel"]
    return f"{information['value']:.4f} +- {information['std']:.4f} bit/px"
