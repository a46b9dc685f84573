"""The report of a noise model: what is in it, in which order, and the sentence under each picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from calibrate.noise_model import NoiseModel
from calibrate.plumbing.figures import figure_to_svg, save_png
from calibrate.plumbing.html import Block, Chart, Charts, Notice, Notices, Paragraph, Section, render_page
from calibrate.report import charts, emva, maps, tables, transfer_chart
from calibrate.report import numbers as n
from calibrate.report.words import electrons, meaning, sensor_facts, sensor_title, severity, severity_rank

NO_DOUBTS = "No doubts were raised."


def render_report(model: NoiseModel) -> str:
    """The report as one self-contained HTML page.

    Parameters
    ----------
    model : NoiseModel
        Fitted, loaded or made of given values: everything comes from its document and maps.

    Returns
    -------
    str
        HTML without scripts, external references or time stamps; the same bytes for the same model.
    """
    document = model.document
    source = "" if model.path is None else f"{model.path.name}, sha256 {model.sha256}. "
    return render_page(
        sensor_title(document.sensor),
        [
            Section("Numbers", _numbers(model)),
            Section("Doubts", (_doubts(model),)),
            Section("Does the model fit?" if document.measurements else "What the model predicts", _fit(model)),
            Section("Noise and signal", _noise(model)),
            *_maps(model),
            *emva.emva_section(document),
            Section("How the numbers were found", tables.method_blocks(document.model_copy(update={"emva1288": None}))),
            Section("Where they hold, and where they come from", tables.provenance_blocks(document)),
        ],
        eyebrow="Camera noise model",
        lead=(Paragraph(sensor_facts(document.sensor, document.kind)),),
        footer=f"{source}Made from the noise-model file alone.",
    )


def write_figures(model: NoiseModel, folder: str | Path) -> list[Path]:
    """Write every figure of the report as PNG.

    Parameters
    ----------
    model : NoiseModel
    folder : str or Path
        Made where it does not exist; files of the same names are replaced.

    Returns
    -------
    list of Path
        ``photon_transfer.png``, ``linearity.png``, ``noise.png``, ``signal_to_noise.png``, ``dark_signal.png``,
        ``dark_variance.png``, ``map_NAME.png``: those that the model has data for.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in _figures(model).items():
        written.append(folder / f"{name}.png")
        save_png(figure, written[-1])
    return written


def _figures(model: NoiseModel) -> dict[str, Figure]:
    made: dict[str, Figure | None] = {
        "photon_transfer": transfer_chart.photon_transfer(model),
        "linearity": charts.linearity(model),
        "noise": charts.noise_parts(model),
        "signal_to_noise": charts.signal_to_noise(model),
        "dark_signal": charts.dark_signal(model),
        "dark_variance": charts.dark_variance(model),
    }
    for name in maps.map_names(model.maps):
        made[f"map_{name}"] = maps.draw_map((model.maps or {})[name], name)
    made |= emva.emva_figures(model.document)
    return {name: figure for name, figure in made.items() if figure is not None}


def _chart(figure: Figure, name: str, title: str, caption: str) -> Chart:
    return Chart(figure_to_svg(figure, name=name, title=title, description=caption), caption)


# ---- sections --------------------------------------------------------------------------------------------


def _numbers(model: NoiseModel) -> tuple[Block, ...]:
    blocks: list[Block] = [Paragraph(meaning(model)), tables.headline_table(model.document)]
    if any(getattr(entry, "std", None) for entry in model.document.parameters.values()):
        blocks.append(
            Paragraph(
                "The digits in parentheses are the standard error in the last digits of the value: 0.5012(13) "
                "means 0.5012 with a standard error of 0.0013. A value without them has no stated error.",
                small=True,
            )
        )
    else:
        blocks.append(Paragraph("No standard errors: none of these values was measured here.", small=True))
    if model.document.channels:
        blocks.append(tables.channel_table(model.document))
    return tuple(blocks)


def _doubts(model: NoiseModel) -> Notices:
    flags = sorted(model.document.fit.flags, key=lambda entry: severity_rank(entry.code))
    if not flags:
        return Notices((Notice("good", NO_DOUBTS),))
    return Notices(tuple(Notice(severity(entry.code), entry.message, entry.code) for entry in flags))


def _fit(model: NoiseModel) -> tuple[Block, ...]:
    bright = n.levels_of(model.document, "bright")
    transfer = _chart(
        transfer_chart.photon_transfer(model), "ptc", "Photon-transfer curve", photon_transfer_caption(model, bright)
    )
    data = n.linearity(model)
    figure = charts.linearity(model)
    if isinstance(data, str) or figure is None:
        return (Charts((transfer,)), Paragraph(str(data)))
    return (Charts((transfer, _chart(figure, "linearity", "Linearity", linearity_caption(data)))),)


def photon_transfer_caption(model: NoiseModel, bright: n.Levels) -> str:
    """One sentence on what the photon-transfer curve shows."""
    if bright.size == 0:
        parts = "noise without light on the left, shot noise rising in proportion to the signal"
        if model.camera.kind == "gaussian":
            parts = "the same variance at every signal"
        elif n.dark_variance_dn2(model) == 0:
            parts = "shot noise in proportion to the signal"
        return (
            f"Photon-transfer curve that the model predicts: {parts}; the file holds no measured levels to compare "
            "it with."
        )
    residuals = n.variance_residuals(bright)[bright.used]
    known = residuals[np.isfinite(residuals)]
    count = f"{int(bright.used.sum())} of {bright.size} levels used"
    if known.size == 0:
        return f"Photon-transfer curve, {count}: the levels should lie on the curve of the noise model."
    within = int(np.sum(np.abs(known) <= 2))
    return (
        f"Photon-transfer curve, {count}: the variances of {within} of {known.size} fitted levels lie within two "
        f"standard errors of the model (grey band; about 95 % should), the farthest "
        f"{float(np.max(np.abs(known))):.1f} away."
    )


def linearity_caption(data: n.Linearity) -> str:
    """One sentence on what the linearity panel shows."""
    light = "photons" if data.axis == "photons" else "exposure"
    deviation = np.abs(data.deviation_percent[data.used])
    return (
        f"Linearity: over the used levels the mean signal departs from a straight line in {light} by "
        f"{n.significant(float(deviation.mean()), 2)} % on average and {n.significant(float(deviation.max()), 2)} % "
        "at most (bars: two standard errors of the mean, lamp scatter not included)."
    )


def _noise(model: NoiseModel) -> tuple[Block, ...]:
    parts = _chart(charts.noise_parts(model), "noise", "Noise and its parts", noise_caption(model))
    numbers = n.user_numbers(model)
    ratio = "Signal-to-noise ratio of one pixel in one frame"
    if numbers.snr_max is not None:
        ratio += f", {n.significant(numbers.snr_max)} at saturation"
    ratio += f": signal equals noise at {electrons(numbers.threshold_e)}."
    shown = [parts, _chart(charts.signal_to_noise(model), "snr", "Signal-to-noise ratio", ratio)]
    blocks: list[Block] = [Charts(tuple(shown))]
    signal, variance = charts.dark_signal(model), charts.dark_variance(model)
    if signal is not None and variance is not None:
        first = "Darks: the mean rises with exposure by the dark charge, in a straight line where dark current is all."
        second = (
            "Darks: the variance should rise by the shot noise of that same charge; where it rises faster, "
            "something other than dark current is at work."
        )
        blocks.append(
            Charts(
                (
                    _chart(signal, "dark-signal", "Dark signal against exposure", first),
                    _chart(variance, "dark-variance", "Dark variance against exposure", second),
                )
            )
        )
    return tuple(blocks)


def noise_caption(model: NoiseModel) -> str:
    """One sentence on which noise rules where."""
    numbers = n.user_numbers(model)
    if model.camera.kind == "gaussian":
        return "Temporal noise referred to the signal: the same at every signal, because this model has no shot noise."
    if numbers.dark_noise_e == 0:
        return "Temporal noise referred to the signal: shot noise alone."
    return (
        f"Temporal noise referred to the signal: below {electrons(numbers.shot_limited_above_e)} the noise "
        "of the dark camera rules, above it shot noise does."
    )


def _maps(model: NoiseModel) -> list[Section]:
    names = maps.map_names(model.maps)
    if not names or model.maps is None:
        return []
    shown = []
    for name in names:
        caption = maps.map_caption(model.maps[name], name)
        title = f"Map of {maps.map_title(name).lower()}"
        shown.append(_chart(maps.draw_map(model.maps[name], name), f"map-{name.replace('_', '-')}", title, caption))
    return [Section("Pixel by pixel", (Charts(tuple(shown), columns=3), *maps.map_findings(model)))]
