"""What tests/test_isolate.py runs in a child: calls that end well, badly, or not at all."""

from __future__ import annotations

import ctypes
import importlib
import logging
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import fakes
from walkaround.dataset.schema import SequenceRecord, SourceRecord
from walkaround.errors import SequenceRejected
from walkaround.io.fetch import FetchLimits, fetch
from walkaround.pipeline import STAGES, build_sequence
from walkaround.workspace import open_workspace

Progress = Callable[[str, float], None]
logger = logging.getLogger("walkaround.tests")


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def echo(value: Any, *, progress: Progress) -> Any:
    return value


def process_id(*, progress: Progress) -> int:
    return os.getpid()


def report(*, progress: Progress) -> str:
    """Progress and log lines in turn, from the main thread and from another one."""
    for number in range(20):
        progress("frames", number / 20)
        logger.info("line %d", number)
    thread = threading.Thread(target=logger.debug, args=("not wanted",))
    thread.start()
    thread.join()
    warnings.warn("odd", stacklevel=1)
    return "done"


def shout(*, progress: Progress) -> str:
    """Print bytes of every kind, as native code does, between the events."""
    noise = os.urandom(1 << 16) + b"\x1b[31m\x00\x00\x00\x00\x00\x00\x00\x04abcd"
    for number in range(20):
        os.write(1, noise)
        os.write(2, noise)
        sys.stdout.write("print\n")
        progress("frames", number / 20)
    return "done"


def fail(error: BaseException, *, progress: Progress) -> None:
    raise error


def fail_unpicklable(*, progress: Progress) -> None:
    raise Unpicklable("one ", "two")


def reject(*, progress: Progress) -> None:
    raise SequenceRejected("short_arc", "Too short.", {"arc_deg": 3.0})


def give_lambda(*, progress: Progress) -> Any:
    return lambda: None


def die(number: int, *, progress: Progress) -> None:
    progress("cameras", 0.3)
    os.write(1, b"F1122 sqlite.cc:12] Check failed: \x1b[31mboom\n")
    os.write(2, b"*** Check failure stack trace: ***\n    @ 0x7f00aa  x()\n")
    if number == signal.SIGABRT:
        os.abort()
    os.kill(os.getpid(), number)
    time.sleep(60)


def leave(code: int, *, progress: Progress) -> None:
    os._exit(code)


def hang(started: Path, *, deaf: bool, progress: Progress) -> None:
    """Sleep; leave a file behind when Python code could clean up. ``deaf`` native code keeps the GIL."""
    write_whole(started, str(os.getpid()))
    try:
        progress("depth", 0.5)
        if deaf:
            ctypes.PyDLL(None).sleep(60)
        while True:
            time.sleep(0.05)
    finally:
        started.with_suffix(".cleaned").touch()


def write_whole(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.rename(path)


def abort_in_a_stage(source: Path, root: Path, *, options: Any, progress: Progress) -> None:
    """Abort with the sequence locked and scratch files lying about."""
    fresh = SequenceRecord(
        class_label="mug", instance_id="0a1b2c3d4e5f", source=SourceRecord(kind="video", sha256="0" * 64)
    )
    with open_workspace(root, fresh, STAGES) as workspace:
        workspace.scratch_root.mkdir(parents=True)
        (workspace.scratch_root / "database.db").write_bytes(b"scratch")
        progress("cameras", 0.0)
        os.write(2, source.name.encode() + b"\n")
        os.abort()


def abort_while_unpacked(source: Path, root: Path, *, options: Any, progress: Progress) -> None:
    """Abort while the input's photos lie in the scratch folder."""
    with fetch(str(source), root / ".work", limits=FetchLimits()) as photos:
        write_whole(root / "seen", str(len(list(photos.iterdir()))))
        progress("capture", 0.5)
        os.abort()


def build_fakes(source: str, root: Path, *, options: Any, progress: Progress) -> SequenceRecord:
    """Build with fake stages; hang in the depth stage when the source says so."""
    content = Path(source).read_bytes()
    for target, function in fakes.PATCHES.items():
        module, name = target.rsplit(".", 1)
        setattr(importlib.import_module(module), name, function)
    if content == b"hang":
        depth: Any = importlib.import_module("walkaround.depth")
        depth.write_depth_maps = lambda *_, **__: hang(root / "started", deaf=False, progress=progress)
    if content == b"abort":
        depth = importlib.import_module("walkaround.depth")
        depth.write_depth_maps = lambda *_, **__: die(signal.SIGABRT, progress=progress)
    return build_sequence(source, root, options=options, progress=progress)


def grow(size_mb: int, *, in_a_child: bool, progress: Progress) -> str:
    """Allocate and touch memory in the second stage, here or in a process that is started; then wait."""
    progress("frames", 1.0)
    progress("cameras", 0.5)
    code = f"import time; block = bytearray(b'x') * {size_mb * 1_000_000}; time.sleep(60)"
    if in_a_child:
        subprocess.run([sys.executable, "-c", code], check=True)
    else:
        exec(code)
    return "done"


def map_a_file(path: Path, *, progress: Progress) -> int:
    """Read a large mapped file and reserve far more address space than memory: neither is memory held."""
    no_reserve = 0x4000  # MAP_NORESERVE of Linux
    reserved = mmap.mmap(-1, 1 << 34, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | no_reserve)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        total = sum(mapped[at] for at in range(0, len(mapped), 4096))
        time.sleep(0.5)
    reserved.close()
    return total


def hang_in_the_second_stage(started: Path, *, progress: Progress) -> None:
    progress("frames", 0.0)
    progress("frames", 1.0)
    hang(started, deaf=True, progress=progress)


def rights(*, progress: Progress) -> dict[str, Any]:
    """What the process may do, as Linux says."""
    status = Path("/proc/self/status").read_text()
    return {
        "core": resource.getrlimit(resource.RLIMIT_CORE),
        "no_new_privs": "NoNewPrivs:\t1" in status,
        "oom": int(Path("/proc/self/oom_score_adj").read_text()),
    }


def slow_stages(events: list[int], *, then_s: float, progress: Progress) -> str:
    """Report so many events of each stage."""
    for stage, number in enumerate(events):
        for event in range(number):
            progress(f"frames{stage}", event / number)
    time.sleep(then_s)
    return "done"


def send_raw(data: bytes, *, progress: Any) -> None:
    """Write bytes of one's own into the pipe of events."""
    progress("depth", 0.1)
    os.write(progress.__self__._fd, data)
    time.sleep(60)
