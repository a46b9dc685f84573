"""The page of a sweep: the best first, every setting there, whatever the sweep was about."""

from __future__ import annotations

import pytest
from page_check import checked

from mi_eval.report.sweep import render_sweep_report

EVIL = '<script>alert("x")</script>'


def entry(name, value, *, group="captured", kind="captured", patch_size=16, **changes):
    plain = {
        "name": name,
        "group": group,
        "kind": kind,
        "camera": None,
        "gain_setting": None,
        "exposure_s": None,
        "of": None,
        "changes": {},
        "what_if": None,
        "against_source": None,
        "patch_size": patch_size,
        "seeds": 2,
        "mutual_information_bits_per_pixel": {"value": value, "std": 0.01, "ci95": [value - 0.03, value + 0.02]},
        "seed_values_bits_per_pixel": [value - 0.002, value + 0.002],
        "seed_std_bits_per_pixel": 0.0028,
        "mean_signal_e": 50.0,
        "bits_per_electron": value / 50,
        "saturated_fraction": 0.001,
        "system_gain_dn_per_e": 0.5,
        "read_noise_e": 2.0,
        "bit_depth": 12,
        "frames": 20,
        "patches_used": 400,
        "warnings": ["no_maps"],
    }
    return {**plain, **changes}


def ranking(entries, group="captured", patch_size=16):
    order = sorted(entries, key=lambda e: -e["mutual_information_bits_per_pixel"]["value"])
    top = order[0]["mutual_information_bits_per_pixel"]
    others = [
        {
            "name": e["name"],
            "difference_bits_per_pixel": top["value"] - e["mutual_information_bits_per_pixel"]["value"],
            "std_bits_per_pixel": 0.004,
            "paired": True,
            "told_apart": i > 0,
        }
        for i, e in enumerate(order[1:])
    ]
    return {
        "group": group,
        "patch_size": patch_size,
        "best": {"name": order[0]["name"], "value_bits_per_pixel": top["value"], "ci95_bits_per_pixel": top["ci95"]},
        "not_told_apart": [e["name"] for e in order[1:2]],
        "comparisons": others,
        "sentence": f"{order[0]['name']} gives the most information.",
    }


def summary(settings, rankings, failed=()):
    return {
        "schema": "photonbits/sweep-summary",
        "version": "1",
        "settings": settings,
        "rankings": rankings,
        "failed": list(failed),
        "cells": 2 * len(settings) + len(failed),
    }


def gains(n_cameras=2):
    return [
        entry(
            f"{EVIL if c == 0 else c} gain {g} {t} s",
            1.0 + 0.1 * c + 0.03 * g * (4 - g) + 0.2 * t,
            camera=EVIL if c == 0 else f"B{c}",
            gain_setting=g,
            exposure_s=t,
            mean_signal_e=100.0 * t,
        )
        for c in range(n_cameras)
        for g in (0, 1, 2)
        for t in (0.5, 1.0)
    ]


def what_ifs():
    out = []
    for t in (0.1, 0.5):
        facts = {"notes": ["read noise 4.4 e-, not 4.2"], "error_bits_per_pixel": 0.0012, "clipped_share": 0.0}
        difference = {"difference_bits_per_pixel": -0.3, "std_bits_per_pixel": 0.01, "paired": True}
        out.append(
            entry(
                f"darker: exposure x {t}",
                0.5 + t,
                group="darker",
                kind="degraded",
                of="a",
                changes={"exposure_factor": t},
                mean_signal_e=50 * t,
                what_if=facts,
                against_source=difference,
            )
        )
    return out


FAILED = [{"cell": "x_p16_s0", "setting": "x", "error": f"no such file {EVIL}"}]
CASES = {
    "one": lambda: summary([entry("a", 1.0)], [ranking([entry("a", 1.0)])]),
    "gains": lambda: summary(gains(), [ranking(gains())]),
    "many lines": lambda: summary(gains(9), [ranking(gains(9))]),
    "names alone": lambda: summary([entry("a", 1.0), entry("b", 1.1)], [ranking([entry("a", 1.0), entry("b", 1.1)])]),
    "what if": lambda: summary(
        [entry("a", 1.0), *what_ifs()], [ranking([entry("a", 1.0)]), ranking(what_ifs(), "darker")]
    ),
    "failed": lambda: summary([entry("a", 1.0)], [ranking([entry("a", 1.0)])], FAILED),
    "all failed": lambda: summary([], [], FAILED),
}


@pytest.mark.parametrize("name", CASES)
def test_page_is_well_formed_self_contained_and_the_same_twice(name):
    content = CASES[name]()
    page = render_sweep_report(content)
    checked(page)
    assert page == render_sweep_report(content)
    assert EVIL not in page


def test_the_best_comes_first_with_its_interval_and_every_setting_has_a_row():
    content = CASES["gains"]()
    page = checked(render_sweep_report(content))
    best = content["rankings"][0]["best"]
    low, high = best["ci95_bits_per_pixel"]
    assert page.text.index(f"{best['value_bits_per_pixel']:.2f} bit/px") < page.text.index("Frames as they were taken")
    assert f"95 % interval {low:.2f} to {high:.2f}" in page.text
    rows = [tag for tag, _ in page.tags if tag == "tr"]
    assert len(rows) == 1 + 12
    assert page.text.count("same, paired") == 1


def test_pictures_follow_what_the_settings_differ_in():
    def pictures(name):
        found = [attrs for tag, attrs in checked(render_sweep_report(CASES[name]())).tags if tag == "svg"]
        return [attrs["aria-labelledby"].split()[0] for attrs in found]

    assert pictures("one") == []
    assert pictures("gains") == [f"g1-{x}-title" for x in ("exposure-s", "mean-signal-e", "gain-setting")]
    assert pictures("names alone") == ["g1-settings-title"]
    assert pictures("what if") == ["g2-exposure-factor-title", "g2-mean-signal-e-title"]


def test_a_what_if_says_what_it_is_made_of_how_well_and_what_it_costs():
    text = checked(render_sweep_report(CASES["what if"]())).text
    assert "Frames of a made worse" in text and "0.0012" in text and "-0.30 ± 0.01" in text
    assert "read noise 4.4\u00a0e⁻, not 4.2" in text


def test_failed_cells_stand_on_the_page():
    text = checked(render_sweep_report(CASES["failed"]())).text
    assert "x_p16_s0" in text and "no such file" in text and "1 of 3 cells" in text
