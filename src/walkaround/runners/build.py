"""One sequence built in a process of its own: what the command line and batches use.

:func:`walkaround.pipeline.build_sequence` is the same in the caller's own process.
"""

from __future__ import annotations

import errno
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from walkaround.dataset.schema import SequenceRecord
from walkaround.errors import OutOfTime, OutputError, ProcessDied
from walkaround.io.atomic import output_error
from walkaround.io.locks import lock_holder, locked
from walkaround.io.room import check_room_left
from walkaround.pipeline import BatchPart, BuildOptions, BuildProgress, build_sequence
from walkaround.runners.isolate import IsolatedCall
from walkaround.workspace import WORK_NAME

_FULL = re.compile(r"(database or )?disk is full|No space left on device|Disk quota exceeded", re.IGNORECASE)


def build_isolated(
    source: Path | str,
    root: Path,
    *,
    options: BuildOptions | None = None,
    progress: BuildProgress | None = None,
    timeout_s: float | None = None,
    stage_timeout_s: float | None = None,
    memory_limit_mb: float | None = None,
    cancel: threading.Event | None = None,
    batch: BatchPart | None = None,
) -> SequenceRecord:
    """Do what :func:`~walkaround.pipeline.build_sequence` does, safe from native code that aborts or hangs.

    A script that calls this needs no main guard. A batch calls it from as many threads as it has workers.

    Parameters
    ----------
    timeout_s
        Stop the build after so many seconds; None for no limit.
    stage_timeout_s
        Stop it when one stage takes longer; None for no limit.
    memory_limit_mb
        Kill it when it holds more memory; None for no limit.
    cancel
        Another thread sets it to stop the build.
    batch
        What a batch wants otherwise.

    Raises
    ------
    OutputError
        As ``build_sequence``; also when a library aborted because the disk is full.
    ProcessDied
        The build's process was aborted, crashed or killed. Finished stages are kept.
    OutOfTime
        A time limit was reached. Finished stages are kept.
    OutOfMemory
        The memory limit was reached. Finished stages are kept.
    concurrent.futures.CancelledError
        ``cancel`` was set.
    WalkaroundError
        Whatever else ``build_sequence`` raises.
    """
    keywords: dict[str, Any] = {"options": options} if batch is None else {"options": options, "batch": batch}
    call = IsolatedCall(
        build_sequence,
        (source, root),
        keywords,
        timeout_s=timeout_s,
        stage_timeout_s=stage_timeout_s,
        memory_limit_mb=memory_limit_mb,
    )
    try:
        with call:
            return call.wait(progress, cancel=cancel)
    except ProcessDied as death:
        _blame_full_disk(root, death)
        raise
    finally:
        _remove_leftovers(root, call.pid)


def _blame_full_disk(root: Path, death: ProcessDied) -> None:
    """Raise OutputError when the library's last words or the disk itself say that there was no room."""
    if isinstance(death, OutOfTime):
        return
    if _FULL.search(death.native_output):
        raise output_error(root, OSError(errno.ENOSPC, "")) from death
    try:
        check_room_left(root)
    except OutputError as full:
        if isinstance(full.__cause__, OSError) and full.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full from death


def _remove_leftovers(root: Path, pid: int) -> None:
    """Remove the scratch files of a child that could not do it, and its lock; nobody else's."""
    for lock in (root / WORK_NAME).glob("*.lock"):
        if lock_holder(lock) == pid:
            with suppress(OSError, OutputError), locked(lock, wait=False, message="in use"):
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
