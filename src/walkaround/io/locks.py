"""Lock files between processes (flock: a killed process gives its lock back)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from walkaround.errors import InUse
from walkaround.io.atomic import output_error


@contextmanager
def locked(path: Path, *, wait: bool, message: str) -> Iterator[None]:
    """Hold an exclusive lock file; it disappears at the end.

    Raises
    ------
    InUse
        Another process holds the lock and ``wait`` is False.
    OutputError
        The folder cannot be written.
    """
    file = _acquire(path, wait=wait, message=message)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        file.close()
        with suppress(OSError):
            path.parent.rmdir()  # only when empty: nobody else is at work


def lock_holder(path: Path) -> int | None:
    """Return the id of the process that took the lock last; None when that cannot be read."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _sign(file: BinaryIO) -> None:
    """Say whose lock it is; a disk too full for that changes nothing."""
    with suppress(OSError):
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()


def _acquire(path: Path, *, wait: bool, message: str) -> BinaryIO:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except FileNotFoundError:  # another run removed the empty folder in between
            continue
        except OSError as error:
            raise output_error(path, error) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.close()
            raise InUse(message) from error
        except OSError as error:
            file.close()
            raise output_error(path, error) from error
        with suppress(OSError):
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                _sign(file)
                return file
        file.close()  # its last holder removed the file: take a new one
