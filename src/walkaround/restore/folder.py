"""Pictures in, pictures and records out: one file or a folder, continued where a run was cut off."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkaround import __version__
from walkaround.errors import InputError, UsageError
from walkaround.io.atomic import write_json
from walkaround.io.image import PHOTO_SUFFIXES, natural_order, read_file
from walkaround.restore.options import RestoreOptions, Task
from walkaround.restore.picture import Picture, decode_picture, read_picture, write_picture
from walkaround.restore.progress import Told
from walkaround.types import Float32Array

logger = logging.getLogger(__name__)

METHOD_VERSION = 1
"""Raised when the code changes what comes out; finished pictures are then done again."""
_READABLE = PHOTO_SUFFIXES - {".heic", ".heif"}

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
    failed
        Name -> why.
    """

    done: tuple[str, ...]
    kept: tuple[str, ...]
    failed: dict[str, str]


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

    A picture whose record has the same input, task and options is left as it is. In a folder, a picture that
    cannot be restored is named in the result and does not stop the others.

    Parameters
    ----------
    truth
        The clean picture, or a folder of them with the same stems; the records then give PSNR.

    Raises
    ------
    InputError
        There are no pictures, or the only one cannot be read.
    UsageError
        An option is wrong, or a result of other options is there and ``overwrite`` is False.
    OutputError
        ``out`` cannot be written.
    """
    paths = _list_pictures(source)
    done, kept, failed = [], [], {}
    for number, path in enumerate(paths):

        def told(state: Told, path: Path = path, number: int = number) -> None:
            hear(path.name, number, len(paths), state)

        try:
            data = read_file(path)
            record = _record(data, task, options)
            if not overwrite and _is_there(out, path.stem, record):
                kept.append(path.name)
                continue
            _restore_one(path, data, out, task, options, record, _truth_of(truth, path), told)
            done.append(path.name)
        except InputError as error:
            if len(paths) == 1:
                raise
            failed[path.name] = str(error)
    return FolderResult(done=tuple(done), kept=tuple(kept), failed=failed)


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
    try:
        old = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old = {}
    if isinstance(old, dict) and all(old.get(name) == value for name, value in record.items()):
        return True
    raise UsageError(
        f"{picture} is there and comes from other options or another input. "
        "Choose another --out, or give --overwrite."
    )


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
    from walkaround.restore.restore import restore_picture

    picture = decode_picture(data, str(path))
    clean = None if truth is None else _read_truth(truth, picture, task, options)
    log: list[dict[str, float]] = []

    def log_and_tell(told: Told) -> None:
        if not log or told.share >= log[-1]["share"] + 0.05 or told.share == 1:
            log.append({"share": round(told.share, 4), "loss": told.loss})
        listen(told)

    wall, cpu = time.perf_counter(), time.process_time()
    restored = restore_picture(picture, task, options=options, data=data, name=str(path), listen=log_and_tell)
    facts: dict[str, Any] = {
        "seconds": round(time.perf_counter() - wall, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "size": [restored.image.shape[1], restored.image.shape[0]],
        **restored.facts,
    }
    if clean is not None:
        facts.update(_psnr(picture, restored.image, clean))
    write_picture(out / f"{path.stem}.png", _finished(picture, restored.image, task, options))
    write_json(out / f"{path.stem}.json", {**record, "version": __version__, **facts, "log": log})


def _finished(picture: Picture, image: Float32Array, task: Task, options: RestoreOptions) -> Picture:
    """Return the result as a picture: what was transparent because it was missing no longer is."""
    result = picture.with_image(image)
    filled = task == "inpaint" and options.mask is None
    return dataclasses.replace(result, alpha=None) if filled else result


def _truth_of(truth: Path | None, path: Path) -> Path | None:
    if truth is None or truth.is_file():
        return truth
    matches = sorted(truth.glob(f"{path.stem}.*")) if truth.is_dir() else []
    if not matches:
        raise UsageError(f"--truth {truth} has no picture named {path.stem}.")
    return matches[0]


def _read_truth(truth: Path, picture: Picture, task: Task, options: RestoreOptions) -> Float32Array:
    """Read the clean picture, before any work is done for it."""
    known = read_picture(truth).image
    scale = options.factor if task == "upscale" else 1
    height, width, channels = picture.image.shape
    if known.shape != (height * scale, width * scale, channels):
        result = f"{width * scale} x {height * scale} px of {channels} channels"
        seen = f"{known.shape[1]} x {known.shape[0]} px of {known.shape[2]}"
        raise UsageError(
            f"--truth {truth} has {seen}, the result {result}. Pass the picture that belongs to it."
        )
    return known


def _psnr(picture: Picture, image: Float32Array, known: Float32Array) -> dict[str, float]:
    def value(other: Float32Array) -> float:
        return round(float(-10 * np.log10(max(float(np.square(other - known).mean()), 1e-12))), 3)

    facts = {"psnr_db": value(image)}
    if picture.image.shape == known.shape:
        facts["psnr_of_input_db"] = value(picture.image)
    return facts


def check_out(out: Path, source: Path) -> None:
    """Refuse to write results among the inputs.

    Raises
    ------
    UsageError
        ``out`` is the folder of the input.
    """
    folder = source if source.is_dir() else source.parent
    if out.exists() and folder.exists() and out.resolve() == folder.resolve():
        raise UsageError(f"--out {out} is the folder of the input. Choose another: results are named alike.")
