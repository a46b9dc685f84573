"""The virtual environment that scripts/demo.py and scripts/test.py run in.

Standard library only. Written so that Python versions too old for photonbits can read it and say so.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "photonbits-environment.json"
OLDEST_PYTHON = (3, 11)

# Settings that would send packages somewhere else, or modules from somewhere else.
_MISLEADING = (
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "PYTHONHOME",
    "PYTHONPATH",
    "__PYVENV_LAUNCHER__",
)

_VENV_PACKAGES = (
    (("debian", "ubuntu"), "apt install python{major}.{minor}-venv   (or python3-venv)"),
    (("fedora", "rhel", "centos"), "dnf install python3-pip"),
    (("suse", "opensuse"), "zypper install python3-pip"),
    (("arch",), "pacman -S python-pip"),
    (("alpine",), "apk add py3-pip"),
)


class EnvironmentFailure(Exception):
    """The environment cannot be made; the text says why and what to do."""


def say(text: str) -> None:
    """One line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def executable(name: str) -> Path:
    """Path of a command inside the environment."""
    if os.name == "nt":
        return ENVIRONMENT / "Scripts" / (name + ".exe")
    return ENVIRONMENT / "bin" / name


def variables(**extra: str) -> dict[str, str]:
    """Environment variables for commands that run inside the environment."""
    values = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    values["VIRTUAL_ENV"] = str(ENVIRONMENT)
    values["PATH"] = str(executable("python").parent) + os.pathsep + values.get("PATH", "")
    values["PYTHONNOUSERSITE"] = "1"
    values["PYTHONUTF8"] = "1"
    values.update(extra)
    return values


def prepare(*extras: str) -> Path:
    """Python of an environment that holds photonbits with `extras`, made or completed where needed.

    An environment that matches pyproject.toml, constraints.txt, the Python version and this folder is used
    as it is, without a look at the network. Ends the process with status 1 and a message on failure.
    """
    try:
        return _prepare(set(extras))
    except EnvironmentFailure as failure:
        say(f"error: {failure}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted; the next run makes the environment anew")
        sys.exit(130)


def _prepare(extras: set[str]) -> Path:
    if sys.version_info < OLDEST_PYTHON:
        raise EnvironmentFailure(
            "photonbits needs Python {}.{} or newer; this is Python {} ({}).\n"
            "Run the script with a newer one, for example: python3.12 {}".format(
                *OLDEST_PYTHON, sys.version.split()[0], sys.executable, " ".join(sys.argv)
            )
        )
    base = _fingerprint("constraints.txt")
    project = _fingerprint("pyproject.toml")
    stamp = _read_stamp()
    alive = stamp.get("base") == base and _python_runs()
    installed = set(stamp.get("extras", ())) if alive else set()
    if alive and stamp.get("project") == project and extras <= installed:
        return executable("python")

    started_s = time.monotonic()
    if STAMP.exists():
        STAMP.unlink()  # an environment without its stamp is unfinished
    if not alive:
        _create()
    extras |= installed
    _install(extras)
    content = {"base": base, "project": project, "extras": sorted(extras)}
    STAMP.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    say(f"environment: ready after {time.monotonic() - started_s:.0f} s")
    return executable("python")


def _fingerprint(name: str) -> str:
    """Digest of a project file, the Python version and the checkout's place, which scripts depend on."""
    digest = hashlib.sha256((ROOT / name).read_bytes())
    digest.update(repr((sys.version_info[:3], str(ROOT))).encode())
    return digest.hexdigest()


def _read_stamp() -> dict:
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _python_runs() -> bool:
    """Whether the environment's Python still starts: the one that it was made from may be gone."""
    try:
        command = [str(executable("python")), "-c", "import pip"]
        return subprocess.run(command, env=variables(), capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _create() -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise EnvironmentFailure(_without_venv())
    import venv

    try:
        if ENVIRONMENT.is_symlink() or ENVIRONMENT.is_file():
            ENVIRONMENT.unlink()
        elif ENVIRONMENT.exists():
            say("environment: removing .venv, which is unfinished or out of date")
            shutil.rmtree(ENVIRONMENT)
        say("environment: creating .venv")
        venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(ENVIRONMENT)
    except subprocess.CalledProcessError as error:
        output = error.output.decode(errors="replace") if error.output else ""
        raise EnvironmentFailure(f"{_without_venv()}\n{_tail(output.splitlines())}") from error
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot make the folder .venv: {error}\n"
            "Close the programs that use it, check permissions and free space, and run the script again."
        ) from error


def _without_venv() -> str:
    """What to install where Python comes without venv or ensurepip."""
    words: set[str] = set()
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition("=")
        if key in ("ID", "ID_LIKE"):
            words.update(value.strip("\"'").replace("-", " ").split())
    here = [command for names, command in _VENV_PACKAGES if words & set(names)]
    commands = here or [command for _, command in _VENV_PACKAGES]
    major, minor = sys.version_info[:2]
    listed = "\n".join("    " + command.format(major=major, minor=minor) for command in commands)
    return (
        f"this Python ({sys.executable}) cannot make virtual environments:\n"
        "its module venv or ensurepip is missing or broken.\n"
        f"Install the system package that holds them, then run the script again:\n{listed}"
    )


def _install(extras: set[str]) -> None:
    constraints = ["-c", str(ROOT / "constraints.txt")]
    target = ".[" + ",".join(sorted(extras)) + "]" if extras else "."
    say(f"environment: installing photonbits{target[1:]} and its dependencies (the first time takes minutes)")
    if extras & {"torch", "all"}:
        # First and at its exact version: a CPU build that the machine holds is then taken, and kept.
        _pip(["install", *constraints, "torch"])
    _pip(["install", *constraints, "hatchling"])
    # The build backend is the pinned one just installed, not the newest.
    _pip(["install", *constraints, "--no-build-isolation", "-e", target])


def _pip(arguments: list[str]) -> None:
    command = [str(executable("python")), "-m", "pip", *arguments]
    lines: deque[str] = deque(maxlen=400)
    spoke_s = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as process:
        if process.stdout is not None:
            for line in process.stdout:
                lines.append(line.rstrip())
                if line.startswith(("Collecting", "Installing")) and time.monotonic() - spoke_s > 5:
                    say("  " + line.strip()[:100])
                    spoke_s = time.monotonic()
    if process.returncode != 0:
        raise EnvironmentFailure(
            f"pip failed with status {process.returncode}. The end of its output:\n{_tail(lines)}\n"
            "Check the network, the proxy and the free space, and run the script again; packages that were\n"
            "downloaded are kept. If pip finds no matching version, use a Python from 3.11 to 3.13."
        )


def _tail(lines: deque[str] | list[str]) -> str:
    return "\n".join("    " + line for line in list(lines)[-15:])
