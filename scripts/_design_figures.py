"""Figures of the studies of designs: objects, optics, information against result, and information over light."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from _design_study import StudiedDesign, Study
from calibrate.plumbing import figures as style
from mi_eval.design.audit import simulate

if TYPE_CHECKING:
    from _design_results import Level

#: Colour and mark of each kind of design.
MARKS = {
    "conventional": (style.INK, "s"),
    "random": (style.ORANGE, "v"),
    "stopped early": (style.SKY, "D"),
    "other": (style.PINK, "^"),
    "designed": (style.GREEN, "o"),
}
_SHOWN = 8
_WIDTH_PX = 640


def save_figures(study: Study, levels: Sequence[Level], folder: Path) -> list[Path]:
    """Write ``NAME_objects.png``, ``_optics``, ``_frames``, ``_ranking`` and ``_levels``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    first = levels[0]
    made = {
        "objects": objects_figure(study, first.light),
        "optics": optics_figure(first.designs),
        "frames": frames_figure(study, first.light, first.designs),
        "ranking": ranking_figure(first),
        "levels": levels_figure(study, levels),
    }
    paths = []
    for name, figure in made.items():
        path = folder / f"{study.name}_{name}.png"
        style.save_png(figure, path)
        paths.append(path)
    return paths


def _tiles(images: Sequence[Any], titles: Sequence[str], columns: int, *, bar: bool = False) -> Figure:
    rows = -(-len(images) // columns)
    with style.figure_style():
        figure = style.new_figure(round(_WIDTH_PX / columns * (0.95 if bar else 1.1) * rows), _WIDTH_PX)
        axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for place in axes:
            place.set_axis_off()
        # Optics share one scale, so that they can be compared; frames and objects have each its own.
        most = max(float(np.nanmax(np.abs(image))) for image in images) if bar else None
        signed = most is not None and min(float(np.nanmin(image)) for image in images) < 0
        scale: dict[str, Any] = {"cmap": "gray"}
        if most is not None:
            scale = {"cmap": "RdBu_r" if signed else "viridis", "vmin": -most if signed else 0, "vmax": most}
        for place, image, title in zip(axes, images, titles, strict=False):
            shown = place.imshow(image, **scale)
            place.set_title(title, fontsize=9)
        if bar:
            figure.colorbar(shown, ax=list(axes), shrink=0.8)
    return figure


def objects_figure(study: Study, light: float) -> Figure:
    """Some objects of the population, planes added up."""
    problem = study.seen_at(light)
    objects = problem.draw(_SHOWN, np.random.default_rng(7)).numpy().sum(axis=1)
    return _tiles(list(objects), [""] * _SHOWN, 8)


def _examples(designs: Sequence[StudiedDesign]) -> list[StudiedDesign]:
    """The conventional design, the first random one and the first two designed ones."""
    out = [item for item in designs if item.kind == "conventional"]
    out += [item for item in designs if item.kind == "random"][:1]
    return out + [item for item in designs if item.kind == "designed"][:2]


def optics_figure(designs: Sequence[StudiedDesign]) -> Figure:
    """The first picture of each example's optics."""
    chosen = _examples(designs)
    pictures = [next(iter(item.design.system.pictures(item.design.tensors()).values())) for item in chosen]
    return _tiles(pictures, [item.label for item in chosen], len(chosen), bar=True)


def frames_figure(study: Study, light: float, designs: Sequence[StudiedDesign]) -> Figure:
    """Raw frames of the same two objects through each example."""
    chosen = _examples(designs)
    seen = [simulate(item.design, study.seen_at(light), 2, 7) for item in chosen]
    images = [one.frames[i] for i in range(2) for one in seen]
    titles = [item.label for item in chosen] + [""] * len(chosen)
    return _tiles(images, titles, len(chosen))


def ranking_figure(level: Level) -> Figure:
    """Information against result, one panel for each metric; bars are 95 % of sampling."""
    kinds = {entry["label"]: entry["kind"] for entry in level.audits}
    with style.figure_style():
        width = max(style.FIGURE_WIDTH_PX, _WIDTH_PX * len(level.rankings) // 2)
        figure = style.new_figure(320, width)
        panels = np.atleast_1d(figure.subplots(1, len(level.rankings)))
        for axes, ranking in zip(panels, level.rankings, strict=True):
            for kind, (colour, mark) in MARKS.items():
                rows = [i for i, name in enumerate(ranking.names) if kinds[name] == kind]
                if not rows:
                    continue
                x = [ranking.information[i] for i in rows]
                y = [ranking.results[i] for i in rows]
                axes.errorbar(
                    [v.value for v in x],
                    [v.value for v in y],
                    [1.96 * v.std for v in y],
                    [1.96 * v.std for v in x],
                    fmt=mark,
                    color=colour,
                    label=kind,
                    elinewidth=0.9,
                    markersize=5,
                )
            unit = "" if ranking.metric.unit == "1" else f" ({ranking.metric.unit})"
            axes.set_xlabel("audited information (bit/px)")
            axes.set_ylabel(ranking.metric.name.removesuffix("_db").removesuffix("_nm").replace("_", " ") + unit)
            values = [r.value for r in ranking.results]
            if min(values) > 0 and max(values) > 4 * min(values):
                axes.set_yscale("log")
                style.plain_log_axis(axes.yaxis)
            axes.set_title(ranking.title, fontsize=9)
        panels[0].legend(loc="best", fontsize=8)
    return figure


def levels_figure(study: Study, levels: Sequence[Level]) -> Figure:
    """Audited information of each kind over the light, relative to the mean of the designed ones."""
    ordered = sorted(levels, key=lambda level: level.light)
    with style.figure_style():
        figure = style.new_figure(300)
        axes = figure.subplots()
        for kind, (colour, mark) in MARKS.items():
            points = []
            for number, level in enumerate(ordered):
                base = float(np.mean([e["value"] for e in level.audits if e["kind"] == "designed"]))
                shift = 1 + 0.012 * (list(MARKS).index(kind) - 2)
                points += [
                    (level.light * shift, e["value"] / base, e["std"] / base, number)
                    for e in level.audits
                    if e["kind"] == kind
                ]
            if points:
                x, y, error, _ = (np.array(v) for v in zip(*points, strict=True))
                axes.errorbar(x, y, 1.96 * error, fmt=mark, color=colour, label=kind, markersize=4, elinewidth=0.8)
        axes.set_xscale("log")
        style.plain_log_axis(axes.xaxis)
        axes.set_xlabel(study.light_unit)
        axes.set_ylabel("information / mean of the designed")
        axes.legend(fontsize=8)
    return figure
