"""mi-eval design: outputs, examples, errors in one line, the cluster."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_check import checked

from calibrate import NoiseModel, PhotonbitsError
from mi_eval.cli import main
from mi_eval.design import load_config
from mi_eval.design.checkpoint import Checkpoint
from mi_eval.systems import SYSTEM_NAMES, SystemDesign

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "docs" / "examples" / "design").glob("*.yaml"))
SMALL = """
system: {name: coded_aperture, shape: [12, 12], mask_shape: [3, 3]}
objects: {kind: stars, per_frame: 12, background: 0.05}
noise: sensor.yaml
light: {mean_light_e: 300}
optimiser: {objective: full, patch_size: 4, objects: 64, steps: 12, restarts: 2, starts: 3, seed: 3}
audit: {frames: 60, patch_size: 4}
"""


@pytest.fixture
def folder(tmp_path):
    NoiseModel.from_parameters(system_gain_dn_per_e=0.5, read_noise_e=2.0, offset_dn=100.0, bit_depth=12).save(
        tmp_path / "sensor.yaml"
    )
    (tmp_path / "config.yaml").write_text(SMALL)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, ["design", *map(str, arguments)])


def test_a_run_writes_design_and_report(folder):
    out = folder / "out"
    done = run(folder / "config.yaml", "-o", out, "--json", "--deterministic")
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    assert content == json.loads((out / "design.json").read_text())
    assert len(content["raced_bits_per_pixel"]) == 3 and len(content["restarts"]) == 2
    assert content["noise_model"]["path"] == "sensor.yaml" and content["noise_model"]["sha256"]
    assert content["surrogate_bits_per_pixel"]["after"] >= content["surrogate_bits_per_pixel"]["before"]
    assert sorted(path.name for path in out.iterdir()) == ["design.json", "design.npz", "report.html"]
    design = SystemDesign.load(out / "design.npz")
    assert design.system.mask_shape == (3, 3)
    page = checked((out / "report.html").read_text())
    for word in ("Limits", "full_well", "Restarts", "Stars", "transmission", "Audit", "3 starts took"):
        assert word in page.text
    first = {path.name: path.read_bytes() for path in out.iterdir()}

    refused = run(folder / "config.yaml", "-o", out)
    assert refused.exit_code == 1 and refused.stdout == "" and "--force" in refused.stderr
    again = run(folder / "config.yaml", "-o", out, "--force", "--deterministic")
    assert again.exit_code == 0
    assert "bit/px in the audit" in again.stdout and "full_well" in again.stdout
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first


def test_the_exposure_is_chosen_from_a_start_of_optics_alone(folder):
    text = SMALL.replace("audit: {frames: 60, patch_size: 4}", "audit: null").replace(
        "restarts: 2, starts: 3", "restarts: 1"
    )
    (folder / "config.yaml").write_text(text)
    assert run(folder / "config.yaml", "-o", folder / "optics", "--deterministic").exit_code == 0
    light = "mean_light_e: 300, exposure_s: 0.1, longest_exposure_s: 2.0, choose_exposure: true"
    (folder / "config.yaml").write_text(text.replace("mean_light_e: 300", light) + "start: optics/design.npz\n")
    done = run(folder / "config.yaml", "-o", folder / "out", "--json", "--deterministic")
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    (exposure,) = [entry for entry in content["limits"] if entry["name"] == "exposure"]
    assert exposure["value"] == 2.0 and 0.1 < exposure["used"] <= 2.0
    names = [entry["name"] for entry in content["limits"]]
    assert names[-2:] == ["light", "full_well"] and "exposure_octaves" in [p["name"] for p in content["parameters"]]
    page = checked((folder / "out" / "report.html").read_text())
    assert "chosen; the light is that of 0.1 s" in page.text and "System: mask_shape" in page.text
    design = SystemDesign.load(folder / "out" / "design.npz")
    assert design.system.system.mask_shape == (3, 3) and design.system.longest_exposure_s == 2.0
    (folder / "config.yaml").write_text(text.replace("mean_light_e: 300", light.replace("2.0", "0.05")))
    done = run(folder / "config.yaml", "-o", folder / "out2")
    assert done.exit_code == 1 and "up to the longest" in done.stderr


def test_restarts_run_on_a_cluster(folder):
    distributed = pytest.importorskip("distributed")
    text = SMALL.replace("audit: {frames: 60, patch_size: 4}", "audit: null")
    (folder / "config.yaml").write_text(text)
    here = run(folder / "config.yaml", "-o", folder / "here", "--json", "--deterministic")
    assert here.exit_code == 0, here.stderr
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        there = run(
            folder / "config.yaml", "-o", folder / "there", "--json", "--deterministic", "--cluster",
            cluster.scheduler_address,
        )  # fmt: skip
        # A run that was stopped here goes on there.
        stopped, save = folder / "stopped", Checkpoint.save

        def save_and_stop(self, path):
            save(self, path)
            raise PhotonbitsError("stopped")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Checkpoint, "save", save_and_stop)
            assert run(folder / "config.yaml", "-o", stopped).exit_code == 1
        assert (stopped / "checkpoint.npz").exists()
        resumed = run(
            folder / "config.yaml", "-o", stopped, "--json", "--deterministic", "--cluster", cluster.scheduler_address
        )
    assert there.exit_code == 0, there.stderr
    assert there.stdout == here.stdout
    assert "Resuming from" in resumed.stderr and resumed.stdout == here.stdout
    assert not (stopped / "checkpoint.npz").exists()
    assert (folder / "there" / "design.npz").read_bytes() == (folder / "here" / "design.npz").read_bytes()


def test_every_system_has_an_example_that_makes_a_problem():
    names = set()
    for path in EXAMPLES:
        config = load_config(path)
        problem = config.problem()
        assert config.optimiser().steps > 0 and config.audit() is not None
        assert problem.flags == ()
        names.add(problem.system.name)
    assert names == set(SYSTEM_NAMES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("light: {mean_light_e: 300}", "", "light budget"),
        ("mask_shape: [3, 3]", "", "lacks mask_shape"),
        ("name: coded_aperture", "name: prism", "coded_aperture"),
        ("kind: stars", "kind: clouds", "beads"),
        ("steps: 12", "stepps: 12", "Expected: objective, steps, restarts, learning_rate"),
        (
            "noise: sensor.yaml",
            "noise: {gain: 0.5}",
            "Expected: kind, system_gain_dn_per_e, read_noise_e",
        ),
        ("frames: 60,", "frame: 60,", "Expected: frames, patch_size, seed, i_mmse"),
        ("light: {", "lights: {", "Expected: system, objects, noise"),
        ("steps: 12", "steps: many", "optimiser.steps"),
        ("starts: 3", "starts: 1", "as many starts as restarts"),
        ("objective: full", "objective: density", "spectral and full"),
        ("noise: sensor.yaml", "noise: nowhere.yaml", "nowhere.yaml"),
        ("objective: full", "objective: guess", "spectral"),
        ("frames: 60, patch_size: 4", "frames: 60, patch_size: 40", "patch"),
        ("system:", "system: [", "YAML"),
    ],
)
def test_bad_configurations_end_in_one_line(folder, old, new, message):
    assert old in SMALL
    (folder / "config.yaml").write_text(SMALL.replace(old, new).replace("steps: 12", "steps: 1"))
    done = run(folder / "config.yaml", "-o", folder / "out")
    assert done.exit_code == 1 and done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1 and message in errors[0]
    assert not (folder / "out").exists()


def test_a_damaged_start_leaves_no_folder(folder):
    (folder / "start.npz").write_bytes(b"PK\x03\x04 and no more")
    (folder / "config.yaml").write_text(SMALL + "start: start.npz\n")
    done = run(folder / "config.yaml", "-o", folder / "deep" / "out")
    assert done.exit_code == 1 and "start.npz is no saved design" in done.stderr
    assert not (folder / "deep").exists()
    (folder / "file").write_text("")
    done = run(folder / "config.yaml", "-o", folder / "file" / "out")
    assert done.exit_code == 1 and "file is no folder" in done.stderr


def test_missing_configurations_and_clusters(folder):
    done = run(folder / "nothing.yaml", "-o", folder / "out")
    assert done.exit_code == 1 and "no such file" in done.stderr
    done = run(folder / "config.yaml", "-o", folder / "out", "--cluster", "nonsense://")
    assert done.exit_code == 1 and "Dask scheduler" in done.stderr and done.stdout == ""


def test_help_names_the_outputs():
    done = run("-h")
    assert done.exit_code == 0
    assert "design.npz" in done.stdout and "--cluster" in done.stdout
