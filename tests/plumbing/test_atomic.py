"""Outputs are complete or absent, and an existing one is kept."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from calibrate.plumbing.atomic import (
    atomic_output,
    atomic_outputs,
    check_output_path,
    write_bytes_atomically,
    write_text_atomically,
)
from calibrate.plumbing.errors import PhotonbitsError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_utf8_with_line_feeds(tmp_path: Path):
    path = tmp_path / "a.yaml"
    write_text_atomically(path, "σ: 1\nK: 2\n", overwrite=False)
    assert path.read_bytes() == "σ: 1\nK: 2\n".encode()
    assert names(tmp_path) == ["a.yaml"]


def test_existing_output_is_kept_unless_overwrite(tmp_path: Path):
    path = tmp_path / "a.bin"
    write_bytes_atomically(path, b"old", overwrite=False)
    with pytest.raises(PhotonbitsError, match=r"a\.bin exists already.*--force"):
        write_bytes_atomically(path, b"new", overwrite=False)
    assert path.read_bytes() == b"old"
    write_bytes_atomically(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


def test_output_that_appears_during_the_work_is_kept(tmp_path: Path):
    path = tmp_path / "a.txt"
    with (
        pytest.raises(PhotonbitsError, match="exists already"),
        atomic_output(path, overwrite=False) as temporary,
    ):
        temporary.write_text("mine")
        path.write_text("theirs")
    assert path.read_text() == "theirs"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.EIO, "other")])
def test_failure_leaves_the_old_output_and_nothing_else(tmp_path: Path, error: BaseException):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_output(path, overwrite=True) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_temporary_file_lies_beside_the_output_with_its_suffix(tmp_path: Path):
    with atomic_output(tmp_path / "maps.npz", overwrite=False) as temporary:
        assert temporary.parent == tmp_path.resolve()
        assert temporary.suffix == ".npz"
        temporary.write_bytes(b"x")
    assert names(tmp_path) == ["maps.npz"]


def test_block_that_writes_nothing_is_an_error(tmp_path: Path):
    with (
        pytest.raises(RuntimeError, match=r"nothing was written for the output .*a\.txt"),
        atomic_output(tmp_path / "a.txt", overwrite=False),
    ):
        pass
    assert names(tmp_path) == []


def test_full_disk_is_said(tmp_path: Path):
    path = tmp_path / "a.txt"
    with pytest.raises(PhotonbitsError, match=r"Cannot write .*a\.txt"), atomic_output(path, overwrite=False):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def write_together(outputs: dict[Path, bytes], *, overwrite: bool) -> None:
    with atomic_outputs(list(outputs), overwrite=overwrite) as temporaries:
        for temporary, data in zip(temporaries, outputs.values(), strict=True):
            temporary.write_bytes(data)


def test_several_outputs_are_all_there_or_none(tmp_path: Path):
    first, second = tmp_path / "s_maps.npz", tmp_path / "s.yaml"
    write_together({first: b"1", second: b"2"}, overwrite=False)
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")

    second.unlink()
    with pytest.raises(PhotonbitsError, match=r"s_maps\.npz exists already"):
        write_together({second: b"4", first: b"3"}, overwrite=False)
    assert names(tmp_path) == ["s_maps.npz"]
    assert first.read_bytes() == b"1"

    write_together({first: b"5", second: b"6"}, overwrite=True)
    assert (first.read_bytes(), second.read_bytes()) == (b"5", b"6")


def test_failure_on_the_second_output_keeps_the_first(tmp_path: Path):
    first, second = tmp_path / "s_maps.npz", tmp_path / "s.yaml"
    write_together({first: b"1", second: b"2"}, overwrite=False)
    with (
        pytest.raises(RuntimeError, match=r"nothing was written for the output .*s\.yaml"),
        atomic_outputs([first, second], overwrite=True) as temporaries,
    ):
        temporaries[0].write_bytes(b"3")
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert names(tmp_path) == ["s.yaml", "s_maps.npz"]


def test_two_outputs_of_one_name_are_refused(tmp_path: Path):
    (tmp_path / "b").mkdir()
    outputs = {tmp_path / "a": b"1", tmp_path / "b" / ".." / "a": b"2"}
    with pytest.raises(PhotonbitsError, match="same name"):
        write_together(outputs, overwrite=True)
    assert names(tmp_path) == ["b"]


def test_folder_that_does_not_exist(tmp_path: Path):
    with pytest.raises(PhotonbitsError, match=r"nowhere does not exist"):
        check_output_path(tmp_path / "nowhere" / "a.txt", overwrite=True)


def test_folder_in_place_of_a_file(tmp_path: Path):
    with pytest.raises(PhotonbitsError, match="is a folder"):
        check_output_path(tmp_path, overwrite=True)


def test_file_in_place_of_the_folder(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PhotonbitsError):
        check_output_path(tmp_path / "file" / "a.txt", overwrite=True)


def test_name_that_no_file_can_have(tmp_path: Path):
    with pytest.raises(PhotonbitsError, match="Cannot use"):
        check_output_path(tmp_path / "a\0b", overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="no such device")
def test_device_is_not_replaced():
    with pytest.raises(PhotonbitsError, match="device"):
        check_output_path(os.devnull, overwrite=True)


@pytest.mark.skipif(os.name == "nt", reason="permissions of folders differ")
def test_folder_without_permission(tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PhotonbitsError, match="cannot be written to"):
            check_output_path(tmp_path / "a.txt", overwrite=False)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_text_atomically(link, "new", overwrite=True)
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="no umask")
def test_permissions_follow_the_umask(tmp_path: Path):
    program = (
        "import os, sys; os.umask(0o027); "
        "from calibrate.plumbing.atomic import write_text_atomically as write; "
        "write(sys.argv[1], 'x', overwrite=False)"
    )
    path = tmp_path / "a.txt"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    assert path.stat().st_mode & 0o777 == 0o640
