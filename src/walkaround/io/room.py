"""Is there room on the disk? Libraries say that it is full in many ways, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from walkaround.errors import OutputError
from walkaround.io.atomic import output_error

_ROOM_BYTES = 1 << 24
"""After a failure: with less room than this, the full disk is blamed. (A writer that fails removes its own
half file, so some room is back.)"""


def check_room(folder: Path, room_mb: int) -> None:
    """Raise OutputError when less than ``room_mb`` MB are free."""
    free_mb = shutil.disk_usage(folder).free // 1_000_000
    if free_mb < room_mb:
        raise OutputError(
            f"The disk is full: {folder} has {free_mb} MB left and needs {room_mb}. "
            "Free some space and run again."
        )


def check_room_left(folder: Path) -> None:
    """Raise OutputError when a failure in ``folder`` must be blamed on a full disk."""
    probe_room(folder, size=_ROOM_BYTES)


def probe_room(folder: Path, size: int = 1 << 16) -> None:
    """Raise OutputError when ``folder`` has no room left for a file of ``size`` bytes."""
    path = folder / ".probe"
    try:
        with path.open("wb") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise output_error(folder, error) from error
