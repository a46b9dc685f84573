"""Discovery: the dark and flat frames in a folder, by their names and headers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from calibrate.captures.assemble import Entry, Notes, Stated, assemble, describe_entry, info_of
from calibrate.captures.capture_set import CaptureSet, FrameKind, FrameReference, IgnoredFile
from calibrate.captures.from_files import complete, note_unknown_exposures
from calibrate.captures.names import NamedKind, is_master, kind_from_name, kind_of_root, natural_key
from calibrate.frames import UnsupportedFrameError, camera_raw_error, reader_by_suffix, stem_of
from calibrate.frames.registry import known_suffixes
from calibrate.plumbing.errors import PhotonbitsError

NEITHER = "neither dark nor flat by name or header; name it so, or write a manifest"
_NOT_IMAGE = "not an image format"
_HEADERLESS = "headerless binary; its dtype and shape need a manifest"
_MASTER = "a master frame is an average, without the noise that is to be measured"
_SYSTEM_FILES = {"thumbs.db", "desktop.ini", "__macosx"}


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield all files below `folder` in natural order, without hidden ones and folders that link back."""
    yield from _walk(folder, {folder.resolve()})


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    try:
        children = sorted(folder.iterdir(), key=lambda child: natural_key(Path(child.name)))
    except OSError as error:
        raise PhotonbitsError(
            f"the folder cannot be listed: {error.strerror or error}",
            where=folder,
            legal="a readable folder",
            remedy="Check the rights",
        ) from error
    for child in children:
        if child.name.startswith(".") or child.name.lower() in _SYSTEM_FILES:
            continue
        if child.is_dir():
            real = child.resolve()
            if real not in seen:
                seen.add(real)
                yield from _walk(child, seen)
        else:
            yield child


@dataclass(frozen=True)
class _Verdict:
    entry: Entry | None = None
    reason: str = ""


def _judge(path: Path, root: Path, notes: Notes, scenes: bool, own: NamedKind | None = None) -> _Verdict:
    """Decide what one file is; with ``scenes`` what is not dark is one, in a level of its folder and name.

    ``own`` is what the root's own name says, where it is asked: the last to speak.
    """
    name = path.relative_to(root)
    if reader_by_suffix(path) is None:
        camera_raw = camera_raw_error(path)
        if camera_raw is not None:
            return _Verdict(reason=f"{camera_raw.what}. {camera_raw.remedy}")
        headerless = path.suffix.lower() in (".raw", ".bin", ".dat")
        return _Verdict(reason=_HEADERLESS if headerless else _NOT_IMAGE)
    bare = name.with_name(stem_of(path))
    named = kind_from_name(bare)
    if is_master(bare):
        return _Verdict(reason=_MASTER)
    try:
        entry = describe_entry(Entry(FrameReference(path), "dark", name.as_posix()))
    except UnsupportedFrameError as error:
        # A photograph of the set-up may lie beside the frames; a flat in colour is worth stopping at.
        if named is not None:
            raise
        return _Verdict(reason=f"{error.what.rstrip('.')}; {NEITHER}")
    kind = _settle_kind(named, info_of(entry).header.get("kind"), entry.where, notes) or own
    if own is not None:
        name = Path(root.resolve().name) / name  # it may say the exposure as well
    if kind is None and not scenes:
        return _Verdict(reason=NEITHER)
    frame_kind: FrameKind = "dark" if kind in ("dark", "bias") else "bright"
    entry = complete(Entry(entry.reference, frame_kind, entry.where, info=entry.info), name, notes)
    if scenes and frame_kind == "bright":
        entry = replace(entry, level=entry.label)
    if kind == "bias" and entry.exposure_s is None:
        entry = replace(entry, exposure_s=0.0, label="")
    return _Verdict(entry)


def _settle_kind(named: NamedKind | None, header: object, where: str, notes: Notes) -> str | None:
    """Return the kind; the plain name wins, because acquisition programs write 'Light Frame' by default."""
    if named is None:
        return str(header) if header in ("bright", "dark", "bias") else None
    if header in ("bright", "dark", "bias") and (header == "bright") != (named == "bright"):
        notes.add(
            "name and header contradict each other, the name is believed",
            f"{where}: {named} by name, {header} in the header",
        )
    return named


def load_folder(folder: Path, *, scenes: bool = False, shift_bits: int = 0) -> CaptureSet:
    """Return the dark and flat frames found in `folder`; with ``scenes`` see `bursts.load_bursts`.

    Raises
    ------
    PhotonbitsError
        No frame is found, an image file is damaged, or the frames do not belong together.
    """
    notes = Notes()
    entries: list[Entry] = []
    ignored: list[IgnoredFile] = []
    own = None
    verdicts = {path: _judge(path, folder, notes, scenes) for path in walk_files(folder)}
    if not scenes and not any(verdict.entry for verdict in verdicts.values()):
        own = kind_of_root(folder.resolve().name)
    if own is not None:
        notes = Notes()
        verdicts = {path: _judge(path, folder, notes, scenes, own) for path in verdicts}
    for path, verdict in verdicts.items():
        if verdict.entry is not None:
            entries.append(verdict.entry)
        else:
            ignored.append(IgnoredFile(path.relative_to(folder).as_posix(), verdict.reason))
    if own is not None and entries:
        notes.add(f"no name or header says what the frames are: {own} by the name of the folder itself", "")
    if not entries:
        raise _no_frames(folder, ignored)
    note_unknown_exposures(entries, notes)
    stated = Stated(shift_bits=shift_bits)
    return assemble(entries, root=folder, source="folder", stated=stated, notes=notes, ignored=ignored)


def _no_frames(folder: Path, ignored: list[IgnoredFile]) -> PhotonbitsError:
    if ignored:
        first = next((item for item in ignored if item.reason != _NOT_IMAGE), ignored[0])
        what = f"no dark or flat frame among {len(ignored)} file(s); first {first.path}: {first.reason}"
    else:
        what = "the folder is empty"
    return PhotonbitsError(
        what,
        where=folder,
        legal="frames named dark, bias, flat or bright (or in folders so named), FITS frames with IMAGETYP, "
        f"manifest.csv, manifest.yaml or an EMVA 1288 descriptor; image formats: {known_suffixes()}",
        remedy="Name the files so, or write a manifest that lists them",
    )
