"""mi-eval downstream: outputs, and errors in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from page_check import checked

from calibrate import PhotonbitsError
from mi_eval.cli import main
from mi_eval.design.audit import Audit, simulated_light
from mi_eval.downstream.config import load_downstream_config, make_decoder
from mi_eval.systems import CodedAperture, SystemDesign

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "downstream.yaml"
SMALL = """
system: {name: coded_aperture, shape: [12, 12], mask_shape: [3, 3]}
objects: {kind: images, name: coins, shrink: 2}
noise: {system_gain_dn_per_e: 0.5, read_noise_e: 2.0, offset_dn: 100, bit_depth: 12}
light: {mean_light_e: 300}
audit: {frames: 40, patch_size: 2}
downstream:
  decoders: [{name: wiener, ssim: false}]
  training_frames: 60
  validation_frames: 20
  test_frames: 60
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text(SMALL)
    system = CodedAperture((12, 12), (3, 3))
    for seed in range(5):
        mask = system.start("random", np.random.default_rng(seed))
        (tmp_path / f"{seed}").mkdir()
        SystemDesign.of(system, mask).save(tmp_path / f"{seed}" / "design.npz")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, ["downstream", *map(str, arguments)])


def test_a_run_writes_numbers_and_report(folder):
    designs = sorted(folder.glob("*/design.npz"))
    done = run(folder / "config.yaml", *designs, "-o", folder / "out", "--deterministic", "--json")
    assert done.exit_code == 0, done.stderr
    content = json.loads((folder / "out" / "downstream.json").read_text())
    assert json.loads(done.stdout) == content
    assert list(content["audits"]) == [f"{seed}/design" for seed in range(5)]
    (ranking,) = content["rankings"]
    assert ranking["metric"] == "psnr_db" and ranking["pairs"]["all"] == 10
    assert "cpu_seconds" not in json.dumps(content)
    checked((folder / "out" / "report.html").read_text())
    again = run(folder / "config.yaml", *designs, "-o", folder / "out")
    assert again.exit_code == 1 and "--force" in again.stderr


def light_alone(design, problem, settings):
    """In place of an audit, which takes seconds and is tested elsewhere."""
    light = simulated_light(design, problem, settings.frames, settings.seed)
    value = light.mean_light_e / 1000
    return Audit(
        value, 0.01, (value - 0.02, value + 0.02), (0.0, 0.0), value, None, **vars(light), density_models=(),
        warnings=(), frames=settings.frames, patch_size=settings.patch_size, seed=settings.seed, cpu_seconds=0.0,
    )  # fmt: skip


def test_a_joint_training_stands_beside_the_designs(folder, monkeypatch):
    """The trainings run here: that each has a process of its own is tested with them."""
    monkeypatch.setattr("mi_eval.design.audit_design", light_alone)
    monkeypatch.setattr("mi_eval.downstream.side_by_side.in_processes", lambda function, tasks: map(function, tasks))
    joint = "  end_to_end: {unet: {channels: 4, ssim: false}, most_epochs: 2, design_rate: 0.2}\n"
    (folder / "config.yaml").write_text(SMALL + joint)
    cost = {"schema": "photonbits/design-result", "cost": {"cpu_seconds": 3.0, "peak_memory_mb": 400.0}}
    (folder / "1" / "design.json").write_text(json.dumps(cost))
    (folder / "2" / "design.json").write_text("no JSON")
    designs = sorted(folder.glob("*/design.npz"))
    done = run(folder / "config.yaml", *designs, "-o", folder / "out")
    assert done.exit_code == 0, done.stderr
    content = json.loads((folder / "out" / "downstream.json").read_text())["end_to_end"]
    assert content["joint_training"]["most_epochs"] == 2 and not content["decoder"]["linear_start"]
    first, *given = content["designs"]
    assert first["name"] == "trained together" and [entry["name"] for entry in given][1] == "1/design"
    known = [entry["cost"]["design"] for entry in given]
    assert known[1] == {"cpu_seconds": 3.0, "peak_memory_mb": 400.0} and known[0] is None and known[2] is None
    assert SystemDesign.load(folder / "out" / "end_to_end_0.npz").system == CodedAperture((12, 12), (3, 3))
    assert "trained together" in done.stdout and "over together" in done.stdout
    page = checked((folder / "out" / "report.html").read_text())
    assert "Against optics trained together" in page.text and "Training (CPU s)" in page.text
    for old, new in (("channels: 4", "chanels: 4"), ("most_epochs", "epochs"), ("ssim: false", "linear_start: true")):
        (folder / "bad.yaml").write_text(SMALL + joint.replace(old, new))
        bad = run(folder / "bad.yaml", *designs, "-o", folder / "bad")
        assert bad.exit_code == 1 and "Error:" in bad.stderr and not (folder / "bad").exists()


def test_errors_say_what_to_do(folder):
    few = run(folder / "config.yaml", folder / "0" / "design.npz", "-o", folder / "few")
    assert few.exit_code == 1 and "5 or more" in few.stderr and few.stdout == ""
    (folder / "bad.yaml").write_text(SMALL.replace("ssim: false", "sssim: false"))
    designs = sorted(folder.glob("*/design.npz"))
    bad = run(folder / "bad.yaml", *designs, "-o", folder / "bad")
    assert bad.exit_code == 1 and "no field of decoder wiener" in bad.stderr
    (folder / "none.yaml").write_text(SMALL.replace("audit: {frames: 40, patch_size: 2}", "audit: null"))
    assert run(folder / "none.yaml", *designs, "-o", folder / "none").exit_code == 1
    assert not any((folder / name).exists() for name in ("few", "bad", "none"))
    with pytest.raises(PhotonbitsError, match="float"):
        make_decoder("unet", {"learning_rate": "fast"})
    with pytest.raises(PhotonbitsError, match="int"):
        make_decoder("unet", {"channels": True})


def test_a_design_of_another_shape_is_named(folder):
    other = CodedAperture((16, 12), (3, 3))
    wrong = folder / "3" / "design.npz"
    SystemDesign.of(other, other.start("conventional", np.random.default_rng(0))).save(wrong)
    done = run(folder / "config.yaml", *sorted(folder.glob("*/design.npz")), "-o", folder / "out")
    assert done.exit_code == 1 and done.stdout == "" and not (folder / "out").exists()
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    for part in (str(wrong), "1 x 16 x 12", "1 x 12 x 12", "configuration"):
        assert part in line


def test_a_damaged_design_is_named_and_leaves_no_folder(folder):
    damaged = folder / "2" / "design.npz"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    for designs in (sorted(folder.glob("*/design.npz")), [damaged] * 5):
        done = run(folder / "config.yaml", *designs, "-o", folder / "out")
        assert done.exit_code == 1 and f"{damaged} is no saved design" in done.stderr
        assert not (folder / "out").exists()
    sound = folder / "1" / "design.npz"
    same = run(folder / "config.yaml", *[sound] * 5, "-o", folder / "out")
    assert same.exit_code == 1 and f"{sound} more than once" in same.stderr and not (folder / "out").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"system_json": np.array("[]")},
        {"system_json": np.array("{}")},
        {"system_json": np.array('{"schema": "photonbits/system-design", "schema_version": 1, "name": "lens"}')},
        {"transmission": np.ones((3, 3))},
    ],
)
def test_archives_that_are_no_design_are_named(tmp_path, content):
    np.savez(tmp_path / "other.npz", **content)
    with pytest.raises(PhotonbitsError, match=r"other\.npz"):
        SystemDesign.load(tmp_path / "other.npz")


def test_designs_of_illegal_fields_are_named(tmp_path):
    system = CodedAperture((12, 12), (3, 3))
    design = SystemDesign.of(system, system.start("conventional", np.random.default_rng(0)))
    design.save(tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as archive:
        entries = {name: archive[name] for name in archive.files}
    entries["transmission"] = np.ones((2, 2))
    np.savez(tmp_path / "other.npz", **entries)
    with pytest.raises(PhotonbitsError, match=r"other\.npz"):
        SystemDesign.load(tmp_path / "other.npz")
    np.save(tmp_path / "lone.npy", np.ones(3))
    with pytest.raises(PhotonbitsError, match=r"lone\.npy"):
        SystemDesign.load(tmp_path / "lone.npy")


def test_the_example_is_read():
    loaded = load_downstream_config(EXAMPLE)
    assert [decoder.name for decoder in loaded.decoders()] == ["wiener", "unet"]
    assert loaded.settings().seeds == (0, 1)
    assert loaded.design.problem().mean_light_e == 300
