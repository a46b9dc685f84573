"""Progress bars appear for people who wait, and for nobody else."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from calibrate.plumbing import progress


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def patient_terminal(monkeypatch: pytest.MonkeyPatch, patience_s: float) -> Terminal:
    """A terminal in place of stderr; called inside the test: capturing resets stderr after fixtures."""
    stream = Terminal()
    monkeypatch.setattr(progress, "_PATIENCE_S", patience_s)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return stream


def test_items_pass_unchanged_and_in_order(capsys: pytest.CaptureFixture[str]):
    assert list(progress.track([3, 1, 2], "reading")) == [3, 1, 2]
    assert list(progress.track((i for i in range(3)), "reading")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_short_work_shows_no_bar(monkeypatch: pytest.MonkeyPatch):
    terminal = patient_terminal(monkeypatch, 3600.0)
    assert list(progress.track(range(5), "reading")) == [0, 1, 2, 3, 4]
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("items", [range(5), iter(range(5)), []])
def test_long_work_shows_a_bar(monkeypatch: pytest.MonkeyPatch, items):
    terminal = patient_terminal(monkeypatch, -1.0)
    expected = [] if items == [] else [0, 1, 2, 3, 4]
    assert list(progress.track(items, "reading frames")) == expected
    assert ("reading frames" in terminal.getvalue()) == bool(expected)


def test_quiet_shows_no_bar(monkeypatch: pytest.MonkeyPatch):
    terminal = patient_terminal(monkeypatch, -1.0)
    progress.set_quiet(True)
    try:
        assert progress.is_quiet()
        assert list(progress.track(range(5), "reading")) == [0, 1, 2, 3, 4]
    finally:
        progress.set_quiet(False)
    assert terminal.getvalue() == ""


def test_consumer_may_stop_early(monkeypatch: pytest.MonkeyPatch):
    terminal = patient_terminal(monkeypatch, -1.0)
    items = progress.track(range(5), "reading")
    assert [next(items), next(items), next(items)] == [0, 1, 2]
    items.close()
    assert terminal.getvalue().endswith("\x1b[2K"), "the bar is wiped"
    assert list(progress.track(range(2), "again")) == [0, 1]


def test_rich_is_imported_late():
    program = "import sys, calibrate.plumbing.progress as p; list(p.track([1], 'x')); sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
