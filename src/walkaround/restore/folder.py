"""Pictures in, pictures and records out: one file or a folder, continued where a run was cut off."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from walkaround import __version__
from walkaround.errors import InputError, UsageError, WalkaroundError
from walkaround.io.atomic import output_error, write_bytes, write_json
from walkaround.io.image import PHOTO_SUFFIXES, natural_order, read_file
from walkaround.restore.missing import made_opaque
from walkaround.restore.options import RestoreOptions, Task
from walkaround.restore.picture import Picture, decode_picture, encode_png, read_picture
from walkaround.restore.progress import Told
from walkaround.restore.truth import Log, compare, read_truth
from walkaround.types import Float32Array

logger = logging.getLogger(__name__)

METHOD_VERSION = 3
"""Raised when the code changes what comes out; finished pictures are then done again."""
_READABLE = PHOTO_SUFFIXES - {".heic", ".heif"}

_Outcome = Literal["done", "kept", "measured"]

Hear = Callable[[str, int, int, Told], None]
"""Called with the name of the picture at work, its number, how many there are, and how far it is."""


def hear_nothing(name: str, number: int, count: int, told: Told) -> None:
    """Ignore progress."""


@dataclass(frozen=True, kw_only=True)
class FolderResult:
    """What a run did.

    Attributes
    ----------
    done, kept
        Names of the pictures that were restored now, and before.
    measured
        Those of ``kept`` that were compared with their truth for the first time.
    failed
        Name -> why.
    """

    done: tuple[str, ...]
    kept: tuple[str, ...]
    failed: dict[str, str]
    measured: tuple[str, ...] = ()


def restore_files(
    source: Path,
    out: Path,
    task: Task,
    *,
    options: RestoreOptions,
    truth: Path | None = None,
    overwrite: bool = False,
    hear: Hear = hear_nothing,
) -> FolderResult:
    """Restore a picture or all pictures of a folder into ``out/<stem>.png`` and ``out/<stem>.json``.

    A picture whose record has the same input, task and options is left as it is; a truth that is new is
    compared with it. In a folder, a picture that cannot be restored is named in the result and does not stop
    the others.

    Parameters
    ----------
    truth
        The clean picture, or a folder of them with the same stems; the records then give PSNR.

    Raises
    ------
    InputError
        There are no pictures, or the only one cannot be read.
    UsageError
        An option is wrong, or no picture can be restored with these options.
    OutputError
        ``out`` cannot be written.
    """
    from walkaround.restore.restore import check_device

    options.check()
    paths = _list_pictures(source)
    check_device(options.device)
    _make_folder(out)
    names: dict[_Outcome, list[str]] = {"done": [], "kept": [], "measured": []}
    failed: dict[str, WalkaroundError] = {}
    for number, path in enumerate(paths):

        def told(state: Told, path: Path = path, number: int = number) -> None:
            hear(path.name, number, len(paths), state)

        try:
            outcome = _restore_file(path, out, task, options, truth, overwrite, told)
            names[outcome].append(path.name)
        except (InputError, UsageError) as error:
            failed[path.name] = error
    _raise_if_all_alike(failed, len(paths))
    return FolderResult(
        done=tuple(names["done"]),
        kept=(*names["kept"], *names["measured"]),
        failed={name: str(error) for name, error in failed.items()},
        measured=tuple(names["measured"]),
    )


def _make_folder(out: Path) -> None:
    """Make ``out`` before any work is done for it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from error


def _raise_if_all_alike(failed: dict[str, WalkaroundError], count: int) -> None:
    """Raise when nothing came of a run: of the only picture, or of all because of an option."""
    errors = list(failed.values())
    if len(errors) == count and (count == 1 or all(isinstance(error, UsageError) for error in errors)):
        raise errors[0]


def _restore_file(
    path: Path,
    out: Path,
    task: Task,
    options: RestoreOptions,
    truth: Path | None,
    overwrite: bool,
    told: Callable[[Told], None],
) -> _Outcome:
    """Restore a picture unless that was done before; compare what is there with a truth that is new."""
    data = read_file(path)
    record = _record(data, task, options)
    clean = _truth_of(truth, path)
    if not overwrite and _is_there(out, path.stem, record):
        if clean is not None and _measure(out, path, data, task, options, clean):
            return "measured"
        return "kept"
    _restore_one(path, data, out, task, options, record, clean, told)
    return "done"


def _list_pictures(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"{source} does not exist. Pass a picture or a folder of pictures.")
    found = [p for p in source.iterdir() if p.suffix.lower() in _READABLE and not p.name.startswith(".")]
    if not found:
        raise InputError(f"{source} holds no pictures ({', '.join(sorted(_READABLE))}).")
    paths = natural_order(found)
    stems = [path.stem for path in paths]
    for path in paths:
        if stems.count(path.stem) > 1:
            raise UsageError(f"{source} has several pictures named {path.stem}; rename all but one.")
    return paths


def _record(data: bytes, task: Task, options: RestoreOptions) -> dict[str, Any]:
    """Return what the result depends on, without names or paths."""
    chosen = dataclasses.asdict(options)
    for name in ("mask", "guide", "kernel"):
        file = Path(chosen[name]) if chosen[name] else None
        if file is not None and file.is_file():
            chosen[name] = "sha256:" + hashlib.sha256(read_file(file)).hexdigest()
        elif chosen[name] is not None:
            chosen[name] = str(chosen[name])
    return {
        "task": task,
        "input_sha256": hashlib.sha256(data).hexdigest(),
        "method_version": METHOD_VERSION,
        "options": chosen,
    }


def _is_there(out: Path, stem: str, record: dict[str, Any]) -> bool:
    """True when this very result is there.

    Raises
    ------
    UsageError
        Another result is.
    """
    picture, note = out / f"{stem}.png", out / f"{stem}.json"
    if not picture.exists():
        return False
    old = _read_note(note)
    if old and all(old.get(name) == value for name, value in record.items()):
        return True
    why = "comes from other options or another input" if old else f"{note.name} does not say where from"
    raise UsageError(f"{picture} is there and {why}. Choose another --out, or give --overwrite.")


def _read_note(note: Path) -> dict[str, Any]:
    """Return a picture's record; empty when it is lacking or broken."""
    try:
        old = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return old if isinstance(old, dict) else {}


def _restore_one(
    path: Path,
    data: bytes,
    out: Path,
    task: Task,
    options: RestoreOptions,
    record: dict[str, Any],
    truth: Path | None,
    listen: Callable[[Told], None],
) -> None:
    import torch

    from walkaround.restore.restore import LEAST_PX, restore_picture

    picture = decode_picture(data, str(path))
    clean = None if truth is None else read_truth(truth, picture, task, options)
    continued = min(picture.image.shape[:2]) < LEAST_PX  # it is cut back at the end only
    log = Log(None if clean is None or continued else clean.image)

    def log_and_tell(told: Told) -> None:
        log.add(told)
        listen(told)

    wall, cpu = time.perf_counter(), time.process_time()
    restored = restore_picture(picture, task, options=options, data=data, name=str(path), listen=log_and_tell)
    result = _finished(picture, restored.image, task, options)
    facts: dict[str, Any] = {
        "seconds": round(time.perf_counter() - wall - log.seconds, 3),
        "cpu_seconds": round(time.process_time() - cpu - log.cpu_seconds, 3),
        "threads": torch.get_num_threads(),
        "size": [restored.image.shape[1], restored.image.shape[0]],
        **restored.facts,
    }
    if clean is not None:
        facts.update(compare(picture, result, clean))
    _write(out, path.stem, result, {**record, "version": __version__, **facts, "log": log.lines})


def _write(out: Path, stem: str, result: Picture, note: dict[str, Any]) -> None:
    """Write the record, then the picture: a record alone is done again, a picture is never without one."""
    picture, encoded = out / f"{stem}.png", encode_png(result)
    try:
        picture.unlink(missing_ok=True)  # with --overwrite: the new record is not of the old picture
    except OSError as error:
        raise output_error(picture, error) from error
    write_json(out / f"{stem}.json", note)
    write_bytes(picture, encoded)


def _measure(out: Path, path: Path, data: bytes, task: Task, options: RestoreOptions, truth: Path) -> bool:
    """Compare a finished picture with its truth; False when that was done before."""
    note = _read_note(out / f"{path.stem}.json")
    picture = decode_picture(data, str(path))
    clean = read_truth(truth, picture, task, options)
    if note.get("truth_sha256") == clean.sha256:
        return False
    facts = compare(picture, read_picture(out / f"{path.stem}.png"), clean)
    write_json(out / f"{path.stem}.json", {**note, **facts})
    return True


def _finished(picture: Picture, image: Float32Array, task: Task, options: RestoreOptions) -> Picture:
    """Return the result as a picture: what was transparent because it was missing no longer is."""
    result = picture.with_image(image)
    return made_opaque(result) if task == "inpaint" and options.mask is None else result


def _truth_of(truth: Path | None, path: Path) -> Path | None:
    if truth is None or truth.is_file():
        return truth
    found = sorted(truth.glob(f"{glob.escape(path.stem)}.*")) if truth.is_dir() else []
    matches = [match for match in found if match.suffix.lower() in _READABLE]
    if not matches:
        raise UsageError(f"--truth {truth} has no picture named {path.stem}.")
    return matches[0]


def check_out(out: Path, source: Path) -> None:
    """Refuse to write results among the inputs, or into a file.

    Raises
    ------
    UsageError
        ``out`` is the folder of the input, or a file.
    """
    if out.is_file():
        raise UsageError(f"--out {out} is a file. Give a folder: it gets <stem>.png and <stem>.json.")
    folder = source if source.is_dir() else source.parent
    if out.exists() and folder.exists() and out.resolve() == folder.resolve():
        raise UsageError(f"--out {out} is the folder of the input. Choose another: results are named alike.")
