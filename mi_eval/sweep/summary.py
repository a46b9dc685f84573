"""From the cells of a sweep to its answer: settings with their intervals, and which of them is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from calibrate import __version__
from mi_eval.sweep.ranking import Standing, difference_std, ranked
from mi_eval.sweep.run import CellResult, SweepOutcome

SUMMARY_SCHEMA = "photonbits/sweep-summary"


def summarize(outcome: SweepOutcome) -> dict[str, Any]:
    """The content of summary.json.

    ``settings`` has one entry for each setting and patch size, its seeds taken together; ``rankings`` the best of each
    group of settings at each patch size, with those that cannot be told from it; ``failed`` the cells without a
    score. Information in bits per pixel.

    Notes
    -----
    The value is the mean over seeds. Its standard error is that of the scores (their frames are the same for all
    seeds, so the mean does not make it smaller) and the seeds' spread over the root of their number, in quadrature.
    The interval is Student's with the frames' degrees of freedom, and widened as the scores' own by the misfit of
    the densities (low end) and by what the codes do not tell of H(Z|Y).
    """
    standings = [
        (part[0], _standing(part)) for part in _grouped([result for result in outcome.results if not result.failed])
    ]
    places = {(result.cell.setting.name, result.cell.patch_size): standing for result, standing in standings}
    settings = [
        {**_setting(result, standing), "against_source": _against_source(result, standing, places)}
        for result, standing in standings
    ]
    rankings = []
    keys = list(dict.fromkeys((result.cell.setting.group, result.cell.patch_size) for result, _ in standings))
    for group, patch_size in keys:
        members = [
            standing
            for result, standing in standings
            if result.cell.setting.group == group and result.cell.patch_size == patch_size
        ]
        rankings.append({"group": group, "patch_size": patch_size, **ranked(members)})
    return {
        "schema": SUMMARY_SCHEMA,
        "version": __version__,
        "settings": settings,
        "rankings": rankings,
        "failed": [
            {"cell": result.cell.name, "setting": result.cell.setting.name, "error": result.record["error"]}
            for result in outcome.failures
        ],
        "cells": len(outcome.results),
    }


def _grouped(results: Sequence[CellResult]) -> list[list[CellResult]]:
    """Results of one setting and patch size together, in order."""
    groups: dict[tuple[str, int], list[CellResult]] = {}
    for result in results:
        groups.setdefault((result.cell.setting.name, result.cell.patch_size), []).append(result)
    return list(groups.values())


def _standing(results: Sequence[CellResult]) -> Standing:
    """Seeds of one setting taken together."""
    scores = [result.record["score"] for result in results]
    values = np.array([score["mutual_information_bits_per_pixel"]["value"] for score in scores])
    stds = np.array([score["mutual_information_bits_per_pixel"]["std"] or 0.0 for score in scores])
    budgets = [score.get("error_budget_bits_per_pixel", {}) for score in scores]
    conditional = [score["conditional_entropy_bits_per_pixel"] for score in scores]
    frames = int(scores[0]["frames"])
    bits = [result.record["per_frame_bits_per_pixel"] for result in results]
    paired = None if any(row is None or len(row) < 2 for row in bits) else np.mean(np.array(bits), axis=0)
    first = results[0].cell.setting
    return Standing(
        name=first.name,
        scenes=first.scenes,
        model_sha256=scores[0]["noise_model"]["sha256"],
        score_std=float(stds.mean()),
        calibration_std=float(np.mean([budget.get("calibration", 0.0) for budget in budgets])),
        seed_values=tuple(float(value) for value in values),
        n_frames=frames,
        set_below=float(
            np.mean([score["slack_bits_per_pixel"] for score in scores])
            + np.mean([entry["interval"][1] - entry["value"] for entry in conditional])
        ),
        set_above=float(np.mean([entry["value"] - entry["interval"][0] for entry in conditional])),
        per_frame_bits=paired,
    )


def _against_source(
    result: CellResult, standing: Standing, places: Mapping[tuple[str, int], Standing]
) -> dict[str, Any] | None:
    """A what-if less the frames that it was made of; frames correspond where each was used by itself."""
    setting = result.cell.setting
    source = None if setting.of is None else places.get((setting.of, result.cell.patch_size))
    if source is None:
        return None
    std, paired = difference_std(standing, replace(source, scenes=standing.scenes))
    return {
        "difference_bits_per_pixel": standing.value - source.value,
        "std_bits_per_pixel": std,
        "paired": paired,
    }


def _setting(result: CellResult, standing: Standing) -> dict[str, Any]:
    cell, record = result.cell, result.record
    setting, score, camera = cell.setting, record["score"], record["camera_model"]
    return {
        "name": setting.name,
        "group": setting.group,
        "kind": setting.kind,
        "camera": setting.camera,
        "gain_setting": setting.gain_setting,
        "exposure_s": record["exposure_s"],
        "of": setting.of,
        "changes": dict(setting.changes),
        "what_if": record["what_if"],
        "patch_size": cell.patch_size,
        "seeds": len(standing.seed_values),
        "mutual_information_bits_per_pixel": {
            "value": standing.value,
            "std": standing.std,
            "ci95": list(standing.interval),
        },
        "seed_values_bits_per_pixel": list(standing.seed_values),
        "seed_std_bits_per_pixel": standing.seed_std,
        "mean_signal_e": score["mean_signal_e"],
        "bits_per_electron": score["bits_per_electron"],
        "saturated_fraction": score["saturated_fraction"],
        "system_gain_dn_per_e": camera["system_gain_dn_per_e"],
        "read_noise_e": camera["read_noise_e"],
        "bit_depth": camera["bit_depth"],
        "frames": score["frames"],
        "patches_used": score["patches_used"],
        "warnings": [entry["code"] for entry in score["warnings"]],
    }
