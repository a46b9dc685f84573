"""mi-eval score: the information in raw frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from calibrate.plumbing.command_line import SETTINGS, check_outputs, command_options, note, print_json, write_texts


@click.command(context_settings=SETTINGS)
@click.argument("frames", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--noise-model", type=click.Path(path_type=Path), required=True, help="Noise model of the camera (YAML).")
@click.option("--patch-size", type=int, default=16, show_default=True, help="Side of the patches, pixels.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of patch choice and folds.")
@click.option("--learning-curve", is_flag=True, help="Score quarters and halves of the frames as well.")
@click.option("--max-patches", type=int, default=20_000, show_default=True, help="Most patches that are used.")
@click.option(
    "--exposure-s",
    type=float,
    help="Exposure of the frames, unless the files say it; for the dark charge.",
)
@click.option("--shift-bits", type=int, default=0, show_default=True, help="Empty low bits of left-aligned codes.")
@click.option("--roi", is_flag=True, help="Frames of half the calibrated size are a region of interest, not binned.")
@click.option(
    "--burst/--no-burst",
    default=None,
    help="All frames show one still scene, or none repeats another. Default: look.",
)
@click.option("--per-channel", is_flag=True, help="Score every colour filter or tap alone as well.")
@click.option("--two-shots", is_flag=True, help="A lower bound from two shots of each of 50 scenes or more (torch).")
@click.option("--accept-processed", is_flag=True, help="Score denoised or demosaiced frames too, for comparisons only.")
@click.option("--budget", is_flag=True, help="Price every imperfection of the camera in bits, and its efficiency.")
@click.option(
    "--density",
    type=click.Choice(["auto", "closed-form", "network", "reference"]),
    default="auto",
    show_default=True,
    help="Density models: with a network where it may help (needs torch), without, in any case, or a slow one too.",
)
@click.option(
    "--twins",
    type=click.IntRange(min=2),
    metavar="N",
    help="Score N sets of frames drawn from the fitted density, whose truth is known.",
)
@click.option("--bulk", is_flag=True, help="Extrapolate over patch sizes to the information of a whole frame.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the score as JSON.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML report.")
@click.option("--json", "as_json", is_flag=True, help="The score as one JSON object on stdout.")
@click.option("--deterministic", is_flag=True, help="Leave out timings: the same bytes every time.")
@click.option("--force", is_flag=True, help="Replace existing outputs.")
@command_options
def score(
    frames: tuple[Path, ...],
    noise_model: Path,
    patch_size: int,
    seed: int,
    learning_curve: bool,
    max_patches: int,
    exposure_s: float | None,
    shift_bits: int,
    roi: bool,
    burst: bool | None,
    per_channel: bool,
    two_shots: bool,
    accept_processed: bool,
    budget: bool,
    density: Literal["auto", "closed-form", "network", "reference"],
    twins: int | None,
    bulk: bool,
    output: Path | None,
    report: Path | None,
    as_json: bool,
    deterministic: bool,
    force: bool,
) -> None:
    """Score raw FRAMES (files, folders or a manifest of scenes): bits per pixel that they carry about the scene.

    Needs the noise model that `calibrate fit` made for this camera and setting.
    """
    import json

    from mi_eval.estimate import estimate_information

    check_outputs((output, report), overwrite=force)
    if budget:
        from mi_eval.budget import estimate_with_budget
    kept: list[Any] = []
    estimate = (estimate_with_budget if budget else estimate_information)(
        frames,
        noise_model,
        patch_size=patch_size,
        seed=seed,
        with_learning_curve=learning_curve,
        max_patches=max_patches,
        exposure_s=exposure_s,
        deterministic=deterministic,
        shift_bits=shift_bits,
        roi=roi,
        burst=burst,
        per_channel=per_channel,
        two_shots=two_shots,
        density=density,
        accept_processed=accept_processed,
        keep=None if twins is None else kept.append,
    )
    if twins is not None:
        from dataclasses import replace

        from mi_eval.twins import score_twins

        estimate = replace(estimate, twins=score_twins(kept[0], twins).to_dict())
    if bulk:
        from dataclasses import replace

        from mi_eval.bulk_rate import bulk_rate

        rate = bulk_rate(
            frames,
            noise_model,
            seed=seed,
            max_patches=max_patches,
            exposure_s=exposure_s,
            shift_bits=shift_bits,
            roi=roi,
            density=density,
        )
        estimate = replace(estimate, bulk_rate_bits_per_pixel=rate.to_dict())
    content = estimate.to_dict()
    outputs: dict[Path, str] = {}
    if report is not None:
        from mi_eval.report import render_score_report

        outputs[report] = render_score_report(content, estimate.details)
    if output is not None:
        outputs[output] = json.dumps(content, indent=2, allow_nan=False) + "\n"
    write_texts(outputs, overwrite=force)
    if as_json:
        print_json(content)
    else:
        click.echo(_summary(content))
    for path in outputs:
        note(f"Wrote {path}")


NOISE = ("observed_variance_dn2", "predicted_variance_dn2")


def _scenes(content: dict[str, Any]) -> str:
    """Effective number of scenes, for people."""
    return "not seen" if content["effective_scenes"] is None else f"{content['effective_scenes']:.0f}"


def _two_shots(content: dict[str, Any]) -> list[list[str]]:
    """The lower bound from two shots with its cap, for people."""
    bound = content.get("two_shots")
    if bound is None:
        return []
    return [["lower bound, two shots", f"{bound['value']:.4f}", f"bit/px (cap {bound['cap']:.4f})"]]


def _twins(content: dict[str, Any]) -> list[list[str]]:
    """What scores of twins were, for people."""
    found = content.get("twins")
    if found is None:
        return []
    bias = found["bias_bits_per_pixel"]
    held = f"{found['intervals_that_hold_the_truth']} of {found['twins']} intervals hold"
    return [["bias on twins", f"{bias['value']:+.4f} +- {bias['std']:.4f}", f"bit/px; {held} the truth"]]


def _summary(content: dict[str, Any]) -> str:
    """The score in words, for people."""
    from calibrate.plumbing.tables import format_table

    information = content["mutual_information_bits_per_pixel"]
    low, high = information["ci95"]
    if high < 0:
        headline = (
            f"{information['value']:.4f} bit/px, which is impossible (95 % interval {low:.4f} to {high:.4f}): see below"
        )
    elif low <= 0:
        headline = f"no information detected (at most {max(high, 0.0):.4f} bit/px)"
    else:
        headline = f"{information['value']:.4f} bit/px, 95 % interval {low:.4f} to {high:.4f}"
    conditional = content["conditional_entropy_bits_per_pixel"]
    rows = [
        ["marginal entropy H(Z)", f"{content['marginal_entropy_bits_per_pixel']:.4f}", "bit/px"],
        ["conditional entropy H(Z|Y)", f"{conditional['value']:.4f}", "bit/px"],
        ["upper bound of I(X;Z)", f"{content['upper_bound_bits_per_pixel']:.4f}", "bit/px"],
        *_two_shots(content),
        *_twins(content),
        ["mean signal", f"{content['mean_signal_e']:.2f}", "e-"],
        ["different scenes", _scenes(content), ""],
        ["frames, patches", f"{content['frames']}, {content['patches_used']}", f"{content['patch_size']} px wide"],
    ]
    rate = content.get("bulk_rate_bits_per_pixel")
    if rate is not None:
        rows.append(["bulk rate", f"{rate['value']:.4f} +- {rate['std']:.4f}", "bit/px"])
        rows.append(["a whole frame", f"{rate['per_frame_bits']:.4g}", "bit"])
    models = [
        [model["name"], f"{model['heldout_bits_per_pixel']:.4f}", f"{model['weight']:.3f}"]
        for model in content["models"]
    ]
    parts = [
        f"Information: {headline}",
        "",
        format_table(["quantity", "value", "unit"], rows, align="lrl"),
        "",
        format_table(["density model", "held-out bit/px", "weight"], models, align="lrr"),
    ]
    if content.get("bursts") and content["bursts"]["ranges"]:
        found = content["bursts"]
        rows = [
            [f"{entry['mean_dn']:.1f}", *(f"{entry[key]:.3f}" for key in NOISE), f"{entry['z']:+.1f}"]
            for entry in found["ranges"]
        ]
        parts += ["", format_table(["mean, DN", "noise of repeats, DN^2", "model, DN^2", "z"], rows, align="rrrr")]
        parts += [f"Noise of repeated frames over the model's: {found['variance_ratio']:.4f}"]
    if content.get("learning_curve"):
        rows = [
            [str(point["frames"]), str(point["patches"]), f"{point['value']:.4f}", f"{point['std']:.4f}"]
            for point in content["learning_curve"]
        ]
        parts += ["", format_table(["frames", "patches", "bit/px", "std"], rows, align="rrrr")]
    if content.get("channels"):
        rows = []
        for name, channel in content["channels"].items():
            bits = channel["mutual_information_bits_per_pixel"]
            span = f"{bits['ci95'][0]:.4f} to {bits['ci95'][1]:.4f}"
            rows.append([name, f"{bits['value']:.4f}", span, f"{channel['mean_signal_e']:.2f}"])
        size = next(iter(content["channels"].values()))["patch_size"]
        heads = ["channel alone", f"bit/px, {size} px wide", "95 % interval", "mean signal, e-"]
        parts += ["", format_table(heads, rows, align="lrlr")]
    if "budget" in content:
        parts += ["", *_budget_lines(content)]
    if content["warnings"]:
        parts += ["", "Doubts:"] + [f"  {doubt['code']}: {doubt['message']}" for doubt in content["warnings"]]
    return "\n".join(parts)


def _budget_lines(content: dict[str, Any]) -> list[str]:
    """The budget as a table: what each imperfection costs."""
    from calibrate.plumbing.tables import format_table

    def bits(entry: dict[str, float] | None) -> list[str]:
        return ["none", ""] if entry is None else [f"{entry['value']:+.4f}", f"{entry['std']:.4f}"]

    budget, efficiency = content["budget"], content["efficiency"]
    rows = [[part["name"].replace("_", " "), *bits(part["bits_per_pixel"])] for part in budget["parts"]]
    rows.append(["together, beyond their sum", *bits(budget["interaction"]["bits_per_pixel"])])
    lines = [format_table(["switched off", "gains bit/px", "std. error"], rows, align="lrr")]
    if efficiency is not None:
        low, high = efficiency["ci95"]
        lines.append(
            f"Efficiency against a noiseless read-out: {efficiency['value']:.4f}, "
            f"95 % interval {low:.4f} to {high:.4f} ({efficiency['method']})"
        )
    return lines
