"""Write a file beside its name, then rename: a killed run leaves no half file under a final name."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from walkaround.errors import OutputError


def output_error(path: Path, error: OSError) -> OutputError:
    """Say in one sentence why ``path`` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"The disk is full: {path} could not be written. Free some space and run again.")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return OutputError(
            f"{path} cannot be written ({error.strerror}). Choose another --out or change its rights."
        )
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        file = next((part for part in (path, *path.parents) if part.is_file()), path)
        return OutputError(f"{path} cannot be written: {file} is a file, not a folder. Choose another --out.")
    if error.errno == errno.EISDIR:
        return OutputError(
            f"{path} cannot be written: it is a folder. Choose another --out, or move it away."
        )
    return OutputError(f"{path} could not be written: {error.strerror or error}.")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; rename it to ``path`` when the block succeeds.

    Raises
    ------
    OutputError
        The folder is read-only or the disk is full.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise what writing ``path`` would raise, before the work that it is to hold; leaves its folder.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    if path.is_dir():
        raise output_error(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    probe = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinities become null."""
    write_bytes(path, (json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
