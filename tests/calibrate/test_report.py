"""The page of a noise model: complete, escaped, self-contained, the same twice, and no document breaks it."""

import math
import re

import numpy as np
import pytest
from page_check import checked

from calibrate.flags import FLAGS, flag
from calibrate.noise_model import NoiseModel
from calibrate.plumbing.tables import format_value_std
from calibrate.report import render_report, write_figures
from calibrate.report.words import severity
from calibrate.schema import PARAMETERS, NoiseModelDocument, ParameterEntry

EVIL = '<script>alert("x")</script>'
HEIGHT, WIDTH = 120, 200


def parameter(name, value, std=None):
    return {name: {"value": value, "std": std, "unit": PARAMETERS[name][0]}}


def levels(camera, *, exposures=True, n_bright=14, top=1.2, variance_factor=1.0):
    rng = np.random.default_rng(0)
    out = []
    points = [("dark", t, 1.6 * t) for t in (0.001, 2.0, 20.0)]
    points += [("bright", t, 8000.0 * t) for t in np.linspace(0.01, top, n_bright).tolist()]
    for kind, exposure, charge in points:
        mean, variance = float(camera.mean_dn([charge])[0]), float(camera.variance_dn2([charge])[0])
        error = 0.004 * max(variance, 1e-6)
        used = mean < 3800
        out.append(
            dict(
                kind=kind,
                exposure_s=exposure if exposures else None,
                photons_per_pixel=None,
                n_frames=2,
                n_pixels=100_000,
                mean_dn=mean,
                mean_std_dn=math.sqrt(variance / 1e5),
                variance_dn2=variance_factor * variance + rng.normal() * error,
                variance_std_dn2=error,
                clipped_fraction=0.0,
                used=used,
                fitted_mean_dn=mean if used else None,
                fitted_variance_dn2=variance if used else None,
            )
        )
    return out


def document_of(plain):
    return NoiseModelDocument.model_validate(plain)


def full_plain(**changes):
    base = NoiseModel.from_parameters(
        system_gain_dn_per_e=0.5012,
        read_noise_e=2.31,
        offset_dn=64.2,
        bit_depth=12,
        response={"coefficients": (-0.02,), "scale_dn": 3900.0},
    )
    plain = base.document.to_plain()
    plain["sensor"] |= {"make": "Acme", "model": EVIL, "serial": "7", "shape": [HEIGHT, WIDTH], "temperature_c": -10.5}
    plain["parameters"] |= {
        **parameter("system_gain_dn_per_e", 0.5012, 0.00013),
        **parameter("offset_dn", 64.2, 0.004),
        **parameter("read_noise_e", 2.31, 0.0012),
        **parameter("dark_noise_dn", 1.193, 0.0006),
        **parameter("dark_current_e_per_s", 1.6, 0.011),
        **parameter("saturation_dn", 4071.0, 6.0),
        **parameter("saturation_e", 7995.0, 12.0),
        **parameter("prnu_percent", 0.62, 0.003),
        **parameter("light_scatter_percent", 0.1, 0.02),
    }
    plain["parameters"]["nonlinearity"]["std"] = [0.0004]
    names = ["system_gain_dn_per_e", "read_noise_e"]
    plain["covariance"] = {"names": names, "matrix": [[1.69e-8, -1.1e-7], [-1.1e-7, 1.44e-6]]}
    plain["validity"] = {"signal_dn": [66.0, 3800.0], "exposure_s": [0.001, 20.0], "temperature_c": None}
    plain["fit"] = {
        "method": "joint likelihood",
        "model": "quadratic",
        "deviance_per_dof": 1.07,
        "dof": 52,
        "flags": [
            flag("not_saturated", highest_dn=3000).model_dump(),
            flag("no_darks").model_dump(),
            {"code": "a_flag_of_tomorrow", "message": f"Beware of {EVIL}."},
        ],
        "candidates": [
            {"name": "quadratic", "bic": 812.3, "system_gain_dn_per_e": 0.5012, "deviance_per_dof": 1.07},
            {"name": EVIL, "bic": 833.1, "system_gain_dn_per_e": 0.4987, "deviance_per_dof": 1.44},
        ],
    }
    plain["channels"] = {"R": parameter("system_gain_dn_per_e", 0.51, 0.01), "G": parameter("offset_dn", 63.5)}
    plain["emva1288"] = {
        "snr_max": {"value": 89.4, "std": 0.2, "unit": "1", "symbol": "SNR_max", "release": "4.0"},
    }
    plain["measurements"] = levels(base)
    files = [{"path": f"flat_{i}.tif", "sha256": "ab" * 32} for i in range(3)]
    plain["provenance"] = {"files": files, "software": "photonbits 9.8.7"}
    return {**plain, **changes}


def full_model(**changes):
    rng = np.random.default_rng(1)
    read = 2.31 * rng.lognormal(0, 0.1, (HEIGHT, WIDTH))
    read[3, 4], read[5, 6] = 40.0, 0.0
    maps = {
        "offset_dn": 64 + rng.normal(0, 0.5, (HEIGHT, WIDTH)),
        "read_noise_e": read,
        "prnu": rng.normal(0, 0.006, (HEIGHT, WIDTH)),
        "offset_dn_std": np.ones((HEIGHT, WIDTH)),
    }
    return NoiseModel.from_document(document_of(full_plain(**changes)), maps)


def with_levels(entries, **changes):
    base = NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    plain = base.document.to_plain() | {"measurements": entries(base)} | changes
    return NoiseModel.from_document(document_of(plain))


def given(**parameters):
    return NoiseModel.from_parameters(**{"system_gain_dn_per_e": 0.5, **parameters})


CASES = {
    "full": full_model,
    "given": lambda: given(read_noise_e=2.0, offset_dn=100.0, bit_depth=12),
    "gain alone": given,
    "real values": lambda: given(read_noise_e=2.0),
    "gaussian": lambda: given(kind="gaussian", read_noise_e=3.0),
    "gaussian, rounded": lambda: given(kind="gaussian", read_noise_e=3.0, bit_depth=16),
    "poisson": lambda: given(kind="poisson", bit_depth=8),
    "full well": lambda: given(read_noise_e=2.0, bit_depth=16, full_well_e=10_000.0),
    "tiny gain": lambda: given(system_gain_dn_per_e=1e-4, read_noise_e=50.0, bit_depth=12),
    "huge gain": lambda: given(system_gain_dn_per_e=300.0, read_noise_e=0.2, bit_depth=16, offset_dn=500),
    "one bit": lambda: given(system_gain_dn_per_e=1.0, read_noise_e=0.3, bit_depth=1),
    "no exposures": lambda: with_levels(lambda camera: levels(camera, exposures=False)),
    "unsaturated": lambda: with_levels(lambda camera: levels(camera, top=0.3)),
    "one level": lambda: with_levels(lambda camera: levels(camera, n_bright=1)[-1:]),
    "darks only": lambda: with_levels(lambda camera: levels(camera)[:3]),
    "nothing used": lambda: with_levels(lambda camera: [entry | {"used": False} for entry in levels(camera)]),
    "no variance": lambda: with_levels(
        lambda camera: [entry | {"variance_dn2": 0.0, "variance_std_dn2": 0.0} for entry in levels(camera)]
    ),
    "below the offset": lambda: with_levels(lambda camera: [entry | {"mean_dn": 90.0} for entry in levels(camera)]),
    "far off": lambda: with_levels(lambda camera: levels(camera, variance_factor=3.0)),
    "flat maps": lambda: given(
        read_noise_e=2.0, bit_depth=12, maps={"prnu": np.zeros((4, 300)), "read_noise_e": np.full((4, 300), 2.0)}
    ),
    "quiet maps": lambda: given(bit_depth=12, maps={"read_noise_e": np.zeros((40, 30)), "offset_dn": np.eye(40, 30)}),
}


@pytest.fixture(scope="module")
def full_page():
    return render_report(full_model())


@pytest.mark.parametrize("name", CASES)
def test_every_model_gives_a_sound_page(name):
    page = checked(render_report(CASES[name]()))
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert any(tag == "svg" for tag, _ in page.tags)


def test_the_page_is_the_same_twice(full_page):
    assert render_report(full_model()) == full_page


def test_figures_have_titles_and_one_sentence_each(full_page):
    tags = [tag for tag, _ in checked(full_page).tags]
    assert tags.count("figure") == tags.count("figcaption") == tags.count("svg") == 9
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", full_page)
    assert all(caption.endswith(".") for caption in captions)
    assert tags.count("desc") == 9


def test_every_parameter_stands_there_with_value_error_unit_and_meaning(full_page):
    text = checked(full_page).text
    for name, entry in full_model().document.parameters.items():
        assert name in text and PARAMETERS[name][1] in text
        if isinstance(entry, ParameterEntry):
            assert format_value_std(entry.value, entry.std) in text
    assert "-0.02000(40)" in text, "the coefficient of the response"
    assert "0.51000(10)" not in text and "0.510(10)" in text, "the red channel"


def test_candidates_correlations_validity_and_provenance(full_page):
    text = checked(full_page).text
    for expected in ("20.8", "0.4987", "1.44", "1.07, 52 degrees of freedom", "-0.71", "66 to 3800 DN", "89.40(20)"):
        assert expected in text
    assert "photonbits 9.8.7" in text and "flat_2.tif" in text and "ab" * 32 in text


def test_flags_stand_in_words_escaped_and_the_gravest_first(full_page):
    assert "<script" not in full_page
    text = checked(full_page).text
    for entry in full_model().document.fit.flags:
        assert entry.message in text and entry.code in text
    order = [text.index(code) for code in ("no_darks", "a_flag_of_tomorrow", "not_saturated")]
    assert order == sorted(order)
    for code in ("no_darks", "not_saturated"):
        assert f'<li class="{severity(code)}">' in full_page
    assert "No doubts were raised." not in text


def test_every_sentence_of_the_registry_survives_the_page():
    flags = [{"code": code, "message": entry.sentence} for code, entry in FLAGS.items()]
    plain = full_plain()
    text = checked(render_report(full_model(fit=plain["fit"] | {"flags": flags}))).text
    for entry in FLAGS.values():
        assert entry.sentence in text


def test_without_flags_the_page_says_so():
    fit = full_plain()["fit"] | {"flags": []}
    assert "No doubts were raised." in checked(render_report(full_model(fit=fit))).text


def test_missing_pieces_are_named_in_words():
    text = checked(render_report(CASES["no exposures"]())).text
    assert "neither exposure times nor photons" in text
    text = checked(render_report(CASES["given"]())).text
    assert "No standard errors" in text and FLAGS["not_measured"].sentence in text
    assert "no measured levels" in text and "nan" not in text.lower().split() and "None" not in text


def test_a_saved_model_gives_the_same_page_but_for_its_file_name(tmp_path):
    model = given(read_noise_e=2.0, offset_dn=100.0, bit_depth=12)
    model.save(tmp_path / "sensor.yaml")
    loaded = NoiseModel.load(tmp_path / "sensor.yaml")
    page = render_report(loaded)
    assert f"sensor.yaml, sha256 {loaded.sha256}. " in page and str(tmp_path) not in page
    assert page.replace(f"sensor.yaml, sha256 {loaded.sha256}. ", "") == render_report(model)


def test_figures_are_written_as_png(tmp_path):
    written = write_figures(full_model(), tmp_path / "new" / "folder")
    assert [path.stem for path in written] == [
        "photon_transfer",
        "linearity",
        "noise",
        "signal_to_noise",
        "dark_signal",
        "dark_variance",
        "map_offset_dn",
        "map_read_noise_e",
        "map_prnu",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_big_maps_do_not_make_a_big_page():
    rng = np.random.default_rng(2)
    shape = (1200, 1600)
    maps = {
        "offset_dn": rng.normal(64, 1, shape),
        "read_noise_e": rng.lognormal(1, 0.2, shape),
        "prnu": rng.normal(0, 0.01, shape),
    }
    model = given(read_noise_e=2.0, bit_depth=12, maps=maps)
    assert len(render_report(model)) < 1_500_000
