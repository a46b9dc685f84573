"""Checkpoints: the state of every restart in one file, written so that a stopped run goes on exactly."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from calibrate import PhotonbitsError
from calibrate.plumbing.atomic import write_bytes_atomically
from mi_eval.design.ascent import Arrays, AscentState

_GROUPS = ("parameters", "first_moment", "second_moment", "best")


@dataclass(frozen=True)
class Checkpoint:
    """States of the restarts that have begun, by number, and the CPU seconds spent.

    Parameters
    ----------
    digest : str
        Of everything that decides the run: another run's checkpoint is refused.
    states : dict of int to AscentState
    cpu_seconds : float
    """

    digest: str
    states: dict[int, AscentState]
    cpu_seconds: float = 0.0

    def with_state(self, state: AscentState, cpu_seconds: float) -> Checkpoint:
        """With one restart's state brought up to date."""
        return replace(self, states={**self.states, state.index: state}, cpu_seconds=cpu_seconds)

    def save(self, path: Path) -> None:
        """Write the file, completely or not at all; its folder is made where it does not exist."""
        header: dict[str, Any] = {"digest": self.digest, "cpu_seconds": self.cpu_seconds, "restarts": {}}
        arrays: Arrays = {}
        for index, state in self.states.items():
            best = None if np.isneginf(state.best_value) else state.best_value
            header["restarts"][str(index)] = {"step": state.step, "best_value": best}
            arrays[f"{index}/curve"] = np.array(state.curve, dtype=np.float64)
            for group in _GROUPS:
                for name, value in getattr(state, group).items():
                    arrays[f"{index}/{group}/{name}"] = value
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, header=np.array(json.dumps(header)), **arrays)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, stream.getvalue(), overwrite=True)

    @classmethod
    def load(cls, path: Path, digest: str) -> Checkpoint:
        """Read the file of this very run; an empty checkpoint where there is none.

        Raises
        ------
        PhotonbitsError
            If the file is damaged, or belongs to another configuration.
        """
        if not path.exists():
            return cls(digest, {})
        try:
            # A file of our own: numpy leaves the one that it opens open when the archive is damaged.
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(str(arrays.pop("header")))
            states = {int(key): _state(int(key), entry, arrays) for key, entry in header["restarts"].items()}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise PhotonbitsError(f"{path} is damaged", remedy="Remove it, or pass --force, to start anew") from error
        if header["digest"] != digest:
            raise PhotonbitsError(
                "the checkpoint belongs to another configuration",
                where=path,
                remedy="Choose another folder, or pass --force to start anew",
            )
        return cls(digest, states, float(header["cpu_seconds"]))


def _state(index: int, entry: dict[str, Any], arrays: Arrays) -> AscentState:
    groups: dict[str, Arrays] = {group: {} for group in _GROUPS}
    for key, value in arrays.items():
        parts = key.split("/", 2)
        if parts[0] == str(index) and parts[1] in groups:
            groups[parts[1]][parts[2]] = np.asarray(value, dtype=np.float64)
    best = -np.inf if entry["best_value"] is None else float(entry["best_value"])
    curve = tuple(float(bits) for bits in arrays[f"{index}/curve"])
    return AscentState(index=index, step=int(entry["step"]), best_value=best, curve=curve, **groups)
