"""The report of a design: what was gained, the optics before and after, how it was found, and its limits."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibrate import __version__
from calibrate.plumbing import figures as style
from calibrate.plumbing.html import (
    Block,
    Cell,
    Chart,
    Charts,
    Column,
    Facts,
    Headline,
    Notice,
    Notices,
    Paragraph,
    Section,
    Table,
    render_page,
)
from mi_eval.design.audit import AuditSettings, simulate
from mi_eval.design.result import DesignResult

FloatArray = NDArray[np.float64]

_MOST_PICTURES = 6


def render_design_report(result: DesignResult, *, timed: bool = True) -> str:
    """The report as one self-contained HTML page.

    Parameters
    ----------
    result : DesignResult
    timed : bool
        Say what the run cost; without it the same design gives the same bytes.

    Returns
    -------
    str
        HTML without scripts, external references or time stamps.
    """
    system = result.after.system
    sections = [
        Section("Information", _information(result)),
        Section("The optics", _optics(result)),
        Section("Frames", _frames(result)),
        Section("Limits", _limits(result)),
        Section("How it was found", _search(result)),
        Section("What it was designed for", (Facts(tuple(_facts(result, timed))),)),
    ]
    return render_page(
        system.title,
        sections,
        eyebrow="Design by information",
        lead=(_headline(result), _flags(result)),
        footer=f"photonbits {__version__}, seed {result.settings['seed']}.",
    )


#: What each objective is made of.
_OBJECTIVES = {
    "spectral": "made of second moments alone",
    "full": "made of second moments alone",
    "density": "the code length of frames under a refitted density, an upper bound",
    "infonce": "InfoNCE on pairs of light and measurement, a lower bound with a cap",
}


def _headline(result: DesignResult) -> Headline:
    gain = result.gain()
    if gain is None:
        change = result.surrogate_after - result.surrogate_before
        return Headline(f"{change:+.4f} bit/px", "by the optimiser's own surrogate; not audited")
    value, _, (low, high) = gain
    return Headline(
        f"{value:+.4f} bit/px",
        f"audited information of the design over the conventional one; 95 % interval {low:+.4f} to {high:+.4f}",
    )


def _flags(result: DesignResult) -> Notices:
    flags = result.flags()
    if not flags:
        return Notices((Notice("good", "No doubts were raised, and every limit is kept."),))
    return Notices(
        tuple(Notice("serious" if code.endswith("exceeded") else "caution", text, code) for code, text in flags)
    )


def _information(result: DesignResult) -> tuple[Block, ...]:
    audits = (result.audit_before, result.audit_after)
    rows: list[tuple[str | Cell, ...]] = [
        ("Surrogate (optimised)", f"{result.surrogate_before:.4f}", f"{result.surrogate_after:.4f}"),
        ("Surrogate, new objects", f"{result.fresh_before:.4f}", f"{result.fresh_after:.4f}"),
    ]
    if result.surrogate_cap is not None:
        rows.append(("Surrogate's cap", *2 * (f"{result.surrogate_cap:.4f}",)))
    shown: tuple[Chart, ...] = ()
    text = (
        f"The optimiser maximises a surrogate ({_OBJECTIVES[result.settings['objective']]}), on its own patch size. "
        "The audit simulates "
        "raw frames of new objects through the sensor and estimates their information with density models that the "
        "optimiser never saw. Compare columns, not rows."
    )
    before, after = audits
    if before is not None and after is not None:
        both = (before, after)
        rows.append(("Audit", *(f"{a.value:.4f}" for a in both)))
        rows.append(("Audit, 95 % interval", *(f"{a.ci95[0]:.4f} to {a.ci95[1]:.4f}" for a in both)))
        if after.closed_form_bits_per_pixel is not None:
            exact = [a.closed_form_bits_per_pixel for a in both]
            rows.append(("Closed form, the audit's patch", *("" if e is None else f"{e:.4f}" for e in exact)))
        opinions = [a.second_opinion for a in both]
        if any(opinion is not None for opinion in opinions):
            alone = any(opinion is not None and opinion.of_photons_alone for opinion in opinions)
            name = "Upper bound by estimation errors" + (" (photons alone)" if alone else "")
            values = ("" if o is None else f"{o.upper_bound_bits_per_pixel:.4f}" for o in opinions)
            rows.append((name, *values))
        caption = f"Audited information with 95 % intervals, {after.frames} frames, {after.patch_size} px patches."
        shown = (_chart(_audit_figure(result), "audit", "Audit", caption),)
    columns = (Column("bit/px"), Column("Conventional", "number"), Column("Designed", "number"))
    shown += (_chart(_curves(result), "curves", "Ascent", "The surrogate in every restart, step by step."),)
    return (Paragraph(text), Table("Information", columns, tuple(rows)), Charts(shown))


def _audit_figure(result: DesignResult) -> Figure:
    with style.figure_style():
        figure = style.new_figure(200)
        axes = figure.subplots()
        rows = ((1, result.audit_before, style.MUTED), (0, result.audit_after, style.BLUE))
        for y, audit, colour in rows:
            assert audit is not None
            axes.plot(audit.ci95, [y, y], color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt")
            axes.plot(audit.value, y, "o", color=colour, markersize=8)
            if audit.closed_form_bits_per_pixel is not None:
                axes.plot(audit.closed_form_bits_per_pixel, y, "|", color=style.ORANGE, markersize=22)
        axes.set_yticks([1, 0], ["conventional", "designed"])
        axes.set_ylim(-0.7, 1.7)
        axes.set_xlabel("information (bit/px; orange: closed form)")
    return figure


def _curves(result: DesignResult) -> Figure:
    with style.figure_style():
        figure = style.new_figure(260)
        axes = figure.subplots()
        best = max(result.restarts, key=lambda r: r.bits_per_pixel)
        for restart in result.restarts:
            colour = style.BLUE if restart is best else "#9AA5B1"
            axes.plot(np.arange(len(restart.curve)), restart.curve, color=colour, zorder=2 + (restart is best))
        axes.axhline(result.surrogate_before, color=style.ORANGE, linewidth=1.2, linestyle=(0, (5, 3)))
        axes.set_xlabel("step (dashed: conventional design)")
        axes.set_ylabel("surrogate (bit/px)")
    return figure


def _optics(result: DesignResult) -> tuple[Block, ...]:
    system = result.after.system
    pairs = [system.pictures(design.tensors()) for design in (result.before, result.after)]
    charts: list[Chart] = []
    names = list(pairs[0])[:_MOST_PICTURES]
    for number, name in enumerate(names):
        images = [pair[name] for pair in pairs]
        finite = np.concatenate([image[np.isfinite(image)] for image in images])
        low, high = float(finite.min()), float(finite.max())
        signed = low < 0 < high
        reach = max(-low, high)
        norm = Normalize(-reach, reach) if signed else Normalize(min(low, 0.0), high if high > low else low + 1)
        for key, word, image in zip(("before", "after"), ("Conventional", "Designed"), images, strict=True):
            figure = _image(image, norm, "RdBu_r" if signed else "magma")
            charts.append(_chart(figure, f"optics-{number}-{key}", name, f"{word}: {name}."))
    blocks: list[Block] = [Paragraph(f"The conventional design: {system.conventional}.")]
    scalars = [spec for spec in system.specs() if np.prod(spec.shape) <= 16]
    if scalars:
        rows = []
        for spec in scalars:
            values = [np.ravel(design.parameters[spec.name]) for design in (result.before, result.after)]
            texts = [", ".join(f"{v:.4g}" for v in value) for value in values]
            rows.append((spec.name, *texts, spec.unit))
        columns = (Column("Parameter", wide=True), Column("Conventional"), Column("Designed"), Column("Unit"))
        blocks.append(Table("Parameters", columns, tuple(rows)))
    if charts:
        blocks.append(Charts(tuple(charts)))
    return tuple(blocks)


def _frames(result: DesignResult) -> tuple[Block, ...]:
    seed = AuditSettings().seed if result.audit_after is None else result.audit_after.seed
    charts = []
    frames = [simulate(d, result.problem, 1, seed).frames[0] for d in (result.before, result.after)]
    for key, word, frame in zip(("before", "after"), ("Conventional", "Designed"), frames, strict=True):
        image = np.asarray(frame, dtype=np.float64)
        norm = Normalize(*style.robust_limits(image))
        caption = f"{word}: a simulated raw frame of the same object, codes from dark to bright."
        charts.append(_chart(_image(image, norm, "gray"), f"frame-{key}", "Raw frame", caption))
    return (Paragraph(result.problem.objects.describe()), Charts(tuple(charts)))


def _image(values: FloatArray, norm: Normalize, colours: str) -> Figure:
    shape = values.shape
    tall = float(np.clip(style.FIGURE_WIDTH_PX * 0.8 * shape[0] / shape[1], 90, 380))
    with style.figure_style():
        figure = style.new_figure(round(tall) + 44)
        axes = figure.subplots()
        cmap = matplotlib.colormaps[colours].with_extremes(bad="#EEF2F6")
        drawn = axes.imshow(np.ma.masked_invalid(values), norm=norm, cmap=cmap, interpolation="none", aspect="auto")
        axes.set_axis_off()
        if min(shape) > 4:
            axes.set_aspect("equal")
        figure.colorbar(drawn, ax=axes, shrink=0.9)
    return figure


def _limits(result: DesignResult) -> tuple[Block, ...]:
    rows = []
    for check in result.limit_checks():
        share = check.used / check.value if check.value > 0 else 0.0
        state = "exceeded" if not check.kept else "active" if check.active else "kept"
        used = Cell(f"{check.used:.4g}", share=float(np.clip(share, 0, 1)))
        rows.append((check.name, used, f"{check.value:.4g}", check.unit, state, check.meaning))
    columns = (
        Column("Limit"),
        Column("Used", "number"),
        Column("Allowed", "number"),
        Column("Unit"),
        Column("State"),
        Column("Meaning", wide=True),
    )
    return (Table("Limits", columns, tuple(rows)),)


def _search(result: DesignResult) -> tuple[Block, ...]:
    rows = tuple(
        (f"{r.index}", r.start, f"{len(r.curve)}", f"{r.bits_per_pixel:.5f}")
        for r in sorted(result.restarts, key=lambda r: -r.bits_per_pixel)
    )
    columns = (Column("Restart"), Column("Start"), Column("Steps", "number"), Column("Surrogate (bit/px)", "number"))
    text = "Restarts that end at one value found the same optimum, or equally good ones; scattered ends say that "
    text += "more starts may find better designs."
    raced = result.raced_bits_per_pixel
    if raced:
        text += (
            f" {len(raced)} starts took the first eighth of the steps, to {raced[-1]:.5f} to {raced[0]:.5f} bit/px; "
            "these went on."
        )
    return (Paragraph(text), Table("Restarts", columns, rows))


def _facts(result: DesignResult, timed: bool) -> list[tuple[str, str]]:
    problem, settings = result.problem, result.settings
    light = (
        f"{problem.mean_light_e:g} e- per pixel on average through the open system"
        if problem.mean_light_e is not None
        else f"{problem.rms_e:g} e- root mean square"
        if problem.rms_e is not None
        else f"{problem.mean_flux_jy:g} Jy, total of the mean object"
        if problem.mean_flux_jy is not None
        else f"{problem.rms_jy:g} Jy per cell root mean square"
        if problem.rms_jy is not None
        else "a constant of the system, below"
    )
    camera = problem.noise_model.camera
    well = "none stated" if problem.full_well_e is None else f"{problem.full_well_e:.4g} e-"
    facts = [
        ("Objects", problem.objects.describe()),
        ("Light", light),
        ("Exposure", _exposure(result)),
        ("Full well", well),
        (
            "Sensor",
            f"{camera.kind}, {float(camera.system_gain_dn_per_e):.4g} DN/e-, {float(camera.read_noise_e):.4g} e-",
        ),
        ("Bit depth", "real values" if camera.bit_depth is None else f"{camera.bit_depth}"),
    ]
    for key, value in problem.system.constants().items():
        within = value.items() if isinstance(value, dict) else ((key, value),)
        facts += [(f"System: {name}", f"{entry}") for name, entry in within]
    facts += [(f"Optimiser: {key}", f"{value}") for key, value in settings.items()]
    audit = result.audit_after
    if audit is not None:
        facts.append(("Audit", f"{audit.frames} frames, patches of {audit.patch_size} px, seed {audit.seed}"))
        facts.append(("Density models of the audit", ", ".join(audit.density_models)))
        facts += [(f"Audit warns: {code}", message) for code, message in audit.warnings]
    if timed:
        facts.append(("Cost of the optimisation", f"{result.cpu_seconds:.2f} CPU seconds"))
        facts.append(("Peak memory", f"{result.peak_memory_mb:.0f} MB"))
    return facts


def _exposure(result: DesignResult) -> str:
    problem, seconds = result.problem, result.problem.exposure_of(result.after)
    if not seconds:
        return "not stated"
    if problem.choose_exposure:
        return f"{seconds:.4g} s, chosen; the light is that of {problem.exposure_s:g} s"
    return f"{seconds:.4g} s"


def _chart(figure: Figure, name: str, title: str, caption: str) -> Chart:
    return Chart(style.figure_to_svg(figure, name=name, title=title, description=caption), caption)
