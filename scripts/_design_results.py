"""From designs to a conclusion: audits, a decoder on every design, their ranking, tables, figures and the command line.

A study is a `_design_study.Study`, a decoder and the frames that it is trained on; `main` runs it for a script.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _design_figures import save_figures
from _design_study import StudiedDesign, Study, audited, collect_designs, digest, kept, wins
from mi_eval.design.optimise import OptimiserSettings, run_digest
from mi_eval.downstream import Decoder, Evaluation, EvaluationSettings, Ranking, evaluate_designs, rank_designs
from mi_eval.downstream.ranking import GivenInformation
from mi_eval.downstream.result import DesignOutcome, SeedOutcome


@dataclass(frozen=True)
class Downstream:
    """A decoder that checks a study, and how it is trained.

    ``metrics`` are those that are ranked; the first is the main one.
    """

    decoder: Decoder
    settings: EvaluationSettings
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Level:
    """All that one level of light gave."""

    light: float
    designs: tuple[StudiedDesign, ...]
    audits: tuple[dict[str, Any], ...]
    evaluations: tuple[Evaluation, ...]
    rankings: tuple[Ranking, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "light": self.light,
            "audits": list(self.audits),
            "wins": [asdict(won) for won in wins(self.audits)],
            "rankings": [ranking.to_dict() for ranking in self.rankings],
            "design_cpu_seconds": {item.label: item.cpu_seconds for item in self.designs},
        }


def run_level(study: Study, downstream: Sequence[Downstream], light: float, folder: Path) -> Level:
    """Design, audit, decode and rank at one level."""
    designs = collect_designs(study, light, folder)
    audits = audited(study, light, designs, folder)
    information = {
        a["label"]: GivenInformation(a["value"], a["std"], tuple(a["undecided_bits_per_pixel"])) for a in audits
    }
    evaluations = tuple(evaluated(study, light, designs, check, folder) for check in downstream)
    rankings = tuple(
        rank_designs(information, evaluation, metric)
        for check, evaluation in zip(downstream, evaluations, strict=True)
        for metric in check.metrics
    )
    return Level(light, tuple(designs), tuple(audits), evaluations, rankings)


def evaluated(
    study: Study, light: float, designs: Sequence[StudiedDesign], downstream: Downstream, folder: Path
) -> Evaluation:
    """One decoder on every design, each design kept in the folder once it is done."""
    problem = study.seen_at(light)
    outcomes = []
    one: Evaluation | None = None
    for item in designs:
        plan = digest(downstream.decoder.to_dict(), asdict(downstream.settings))
        path = folder / f"decoded_{digest(run_digest(problem, OptimiserSettings(), item.design), plan)}.json"

        def measure(item: StudiedDesign = item) -> dict[str, Any]:
            found = evaluate_designs({"design": item.design}, problem, downstream.decoder, downstream.settings)
            seeds = [
                {
                    "seed": s.seed,
                    "per_frame": {k: v.tolist() for k, v in s.per_frame.items()},
                    "cpu_seconds": s.cpu_seconds,
                    "details": s.details,
                }
                for s in found.designs[0].seeds
            ]
            return {"seeds": seeds, "target_range": found.target_range}

        held = kept(path, measure)
        runs = tuple(
            SeedOutcome(s["seed"], {k: np.array(v) for k, v in s["per_frame"].items()}, s["cpu_seconds"], s["details"])
            for s in held["seeds"]
        )
        outcomes.append(DesignOutcome(item.label, runs))
        decoder = downstream.decoder
        plain = {**asdict(downstream.settings), "seeds": list(downstream.settings.seeds)}
        one = Evaluation(
            decoder.to_dict(), decoder.title, decoder.metrics, tuple(outcomes), plain, held["target_range"]
        )
    assert one is not None
    return one


def summary_lines(study: Study, levels: Sequence[Level]) -> list[str]:
    """The table over levels and the two criteria, as Markdown."""
    out = [
        f"| {study.light_unit} | conventional | random | designed | over random | over conventional | pairs alike "
        "| Spearman |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for level in levels:
        values: dict[str, list[float]] = {}
        for entry in level.audits:
            values.setdefault(entry["kind"], []).append(entry["value"])
        won = {w.over: w for w in wins(level.audits)}
        main = level.rankings[0]
        share, (low, high) = main.significant, main.spearman_ci95
        cells = [
            f"{level.light:g}",
            f"{values['conventional'][0]:.4f}",
            _spread(values["random"]),
            _spread(values["designed"]),
            *(f"{won[o].wins} of {won[o].seeds} ({won[o].significant})" for o in ("random", "conventional")),
            f"{share.alike} of {share.pairs}",
            f"{main.spearman:.2f} ({low:.2f} to {high:.2f})",
        ]
        out.append("| " + " | ".join(cells) + " |")
    out.append("")
    for level in levels:
        for ranking in level.rankings:
            share, both, (low, high) = ranking.significant, ranking.significant_in_both, ranking.spearman_ci95
            out.append(
                f"{study.light_unit} {level.light:g}, {ranking.title}, {ranking.metric.name}: {share.alike} of "
                f"{share.pairs} pairs alike, {both.alike} of {both.pairs} where both differ; Spearman "
                f"{ranking.spearman:.2f} ({low:.2f} to {high:.2f}), {len(ranking.names)} designs"
            )
    return out


def _spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def main(
    full: Callable[[], tuple[Study, Sequence[Downstream]]],
    quick: Callable[[], tuple[Study, Sequence[Downstream]]],
    description: str,
    arguments: Sequence[str] | None = None,
    apart: Mapping[str, Callable[[Path], object]] | None = None,
) -> list[Level]:
    """Command line of a study's script; the levels that it ran.

    ``full`` and ``quick`` give study and decoders. ``--lights`` runs some levels only, for pieces. ``apart`` are checks
    by name, functions of the folder: ``--NAME`` runs one of them instead of the study.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="a small version that shows that everything runs")
    parser.add_argument("--folder", type=Path, help="keep designs and audits here, and go on from them")
    parser.add_argument("--lights", type=float, nargs="+", help="these levels only")
    parser.add_argument("--json", type=Path, help="write all numbers")
    parser.add_argument("--figures", type=Path, help="write figures into this folder")
    for name, check in (apart or {}).items():
        text = (check.__doc__ or "").strip().partition("\n")[0]
        parser.add_argument(f"--{name}", dest="apart", action="store_const", const=check, help=text)
    chosen = parser.parse_args(arguments)
    study, downstream = (quick if chosen.quick else full)()
    lights = tuple(chosen.lights or study.lights)
    folder = chosen.folder or Path("studies") / (study.name + ("_quick" if chosen.quick else ""))
    if getattr(chosen, "apart", None) is not None:
        chosen.apart(folder)
        return []
    levels = [run_level(study, downstream, light, folder) for light in lights]
    print("\n".join(summary_lines(study, levels)))
    if chosen.json is not None:
        content: Mapping[str, Any] = {"study": study.name, "levels": [level.to_dict() for level in levels]}
        chosen.json.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if chosen.figures is not None:
        save_figures(study, levels, chosen.figures)
    return levels
