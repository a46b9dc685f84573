"""The project as a whole: what the README promises, what may be tracked, what an import costs."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from types import ModuleType

import pytest

import calibrate
import mi_eval

ROOT = Path(__file__).resolve().parent.parent
LARGEST_FILE_BYTES = 1_000_000
LARGEST_SAMPLES_BYTES = 10_000_000
HEAVY = ("astropy", "matplotlib", "numpy", "scipy", "torch")


def project_files() -> list[Path]:
    """Tracked files and new ones that git does not ignore; without git, all but hidden and made ones."""
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode("utf-8")
        files = [ROOT / name for name in listing.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        made = {"demo_output", "build", "dist", "__pycache__"}
        files = [
            path
            for path in ROOT.rglob("*")
            if not any(part in made or part.startswith(".") for part in path.relative_to(ROOT).parts)
        ]
    return sorted(path for path in files if path.is_file())


def text_of(path: Path) -> str | None:
    data = path.read_bytes()
    return None if b"\0" in data[:8192] else data.decode("utf-8", errors="replace")


def test_readme_names_two_commands_that_exist():
    commands = re.findall(r"^python3 (scripts/\S+\.py)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert commands[:2] == ["scripts/demo.py", "scripts/test.py"]
    assert all((ROOT / command).is_file() for command in commands)


def test_ci_runs_the_same_check_as_a_developer():
    script = ROOT / ".ci" / "run"
    assert "python3 scripts/test.py" in script.read_text("utf-8")
    if os.name != "nt":
        assert os.access(script, os.X_OK)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/_environment.py, with its checkout in a temporary folder and neither venv nor pip run."""
    spec = importlib.util.spec_from_file_location("_environment", ROOT / "scripts" / "_environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("first\n")
    folder = tmp_path / ".venv"
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "ENVIRONMENT", folder)
    monkeypatch.setattr(module, "STAMP", folder / "stamp.json")
    monkeypatch.setattr(module, "_python_runs", folder.is_dir)
    module.done = []
    monkeypatch.setattr(module, "_create", lambda: (folder.mkdir(exist_ok=True), module.done.append("create")))
    monkeypatch.setattr(module, "_install", lambda extras: module.done.append(sorted(extras)))
    return module


def test_environment_is_made_once_and_completed_where_needed(environment: ModuleType, tmp_path: Path):
    def done_by(*extras: str) -> list[object]:
        environment.done.clear()
        environment.prepare(*extras)
        return list(environment.done)

    assert done_by() == ["create", []]
    assert done_by() == []
    assert done_by("dev") == [["dev"]]
    assert done_by("dev") == []
    assert done_by() == []  # what the tests need includes what the demo needs
    (tmp_path / "pyproject.toml").write_text("second\n")
    assert done_by() == [["dev"]]
    (tmp_path / "constraints.txt").write_text("second\n")
    assert done_by("dev") == ["create", ["dev"]]
    environment.STAMP.write_text("{")
    assert done_by("dev") == ["create", ["dev"]]


def test_unfinished_environment_is_made_anew(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    environment.prepare("dev")
    (environment.ROOT / "pyproject.toml").write_text("second\n")

    def fail(extras: set[str]) -> None:
        raise environment.EnvironmentFailure("pip failed with status 1")

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(environment, "_install", fail)
        environment.prepare("dev")
    assert end.value.code == 1
    assert "error: pip failed with status 1" in capsys.readouterr().err
    environment.done.clear()
    environment.prepare("dev")
    assert environment.done == ["create", ["dev"]]


def test_old_python_is_told_so(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(environment, "OLDEST_PYTHON", (4, 0))
    with pytest.raises(SystemExit) as end:
        environment.prepare()
    assert end.value.code == 1
    assert "photonbits needs Python 4.0 or newer" in capsys.readouterr().err
    assert environment.done == []


def test_version_is_the_same_everywhere():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in declared["project"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", calibrate.__version__)
    assert mi_eval.__version__ == calibrate.__version__
    assert version("photonbits") == calibrate.__version__
    assert re.search(rf"^## {re.escape(calibrate.__version__)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)


def test_every_requirement_is_pinned():
    """Each direct dependency, extras included, has its exact pin."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = list(chain(declared["dependencies"], *declared["optional-dependencies"].values()))
    names = {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in wanted} - {"photonbits"}
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    assert names <= {pin.split("==")[0].lower() for pin in pins}


def test_no_file_is_large():
    files = project_files()
    assert files
    large = [str(path.relative_to(ROOT)) for path in files if path.stat().st_size >= LARGEST_FILE_BYTES]
    assert large == []
    samples = ROOT / "data_samples"
    assert sum(path.stat().st_size for path in files if samples in path.parents) < LARGEST_SAMPLES_BYTES


def test_no_path_of_a_machine():
    """No file names a home folder or the folder that the checkout lies in."""
    # In two pieces, so that this file does not find itself.
    homes = re.compile("/ho" + r"me/\w|/Us" + r"ers/\w|/ro" + r"ot/\w|/wo" + r"rk/\w|[A-Z]:\\\\?Us" + "ers")
    parent = str(ROOT.parent) + os.sep
    found = []
    for path in project_files():
        text = text_of(path)
        if text is not None and (homes.search(text) or (len(parent) > 5 and parent in text)):
            found.append(str(path.relative_to(ROOT)))
    assert found == []


def anchors_of(path: Path) -> set[str]:
    """Anchors that a Markdown viewer makes from the headings of a file."""
    headings = re.findall(r"^#+ +(.*?) *$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_of_the_documentation_resolves():
    broken = []
    for page in project_files():
        if page.suffix != ".md":
            continue
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"`[^`\n]*`", "", text)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors_of(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("calibrate", []),
        ("mi_eval", []),
        ("calibrate.cli", ["--help"]),
        ("calibrate.cli", ["fit", "--help"]),
        ("calibrate.cli", ["inspect", "-h"]),
        ("calibrate.cli", ["show", "-h"]),
        ("calibrate.cli", ["report", "-h"]),
        ("calibrate.cli", ["simulate", "-h"]),
        ("calibrate.cli", ["from-values", "-h"]),
        ("mi_eval.cli", ["--help"]),
        ("mi_eval.cli", ["score", "-h"]),
        ("mi_eval.cli", ["design", "-h"]),
    ],
)
def test_help_imports_nothing_heavy(module: str, arguments: list[str]):
    """`import` of the packages and every help page leave the numerical packages out of sys.modules."""
    program = f"""
import sys
from importlib import import_module
module = import_module({module!r})
sys.argv = [{module!r}, *{arguments!r}]
status = 0
if {arguments!r}:
    try:
        module.main()
    except SystemExit as end:
        status = end.code or 0
heavy = sorted(set({HEAVY!r}) & set(sys.modules))
print("heavy:", heavy, "status:", status)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.splitlines()[-1:] == ["heavy: [] status: 0"], done.stdout + done.stderr
    if arguments:
        assert "Usage:" in done.stdout


def test_a_fit_loads_no_plots_and_no_distributions(tmp_path: Path):
    """Packages that a fit does not use would take longer to load than the fit takes."""
    given = {"system_gain_dn_per_e": 0.5, "read_noise_e": 3.0, "offset_dn": 100.0, "bit_depth": 12}
    sensor = calibrate.NoiseModel.from_parameters(**given)
    captures = calibrate.simulate_captures(sensor, tmp_path / "captures", levels=6, shape=(16, 16), seed=0)
    program = f"""
import sys
from calibrate.cli import main
sys.argv = ["calibrate", "fit", {str(captures)!r}, "-o", {str(tmp_path / "sensor.yaml")!r}, "--no-maps"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("heavy:", [name for name in ("matplotlib", "scipy.stats", "torch", "mi_eval") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.splitlines()[-1:] == ["heavy: []"], done.stdout + done.stderr


@pytest.mark.parametrize("package", [calibrate, mi_eval])
def test_public_names_load_on_first_use(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


def test_every_decision_stands_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [
        page.name
        for page in sorted((ROOT / "docs" / "decisions").glob("*.md"))
        if f"(decisions/{page.name})" not in index
    ]
    assert not missing, f"add a line to docs/index.md for {', '.join(missing)}"
