"""Limits of a call in a process of its own: a stage's time, and memory."""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

import pytest

from tests import isolated_tasks as tasks
from tests.test_isolate import Clock, call, clock, has_ended, wait_for
from walkaround.errors import OutOfMemory, OutOfTime
from walkaround.runners import isolate
from walkaround.runners._memory import held_bytes, process_tree
from walkaround.runners.isolate import IsolatedCall

__all__ = ["clock"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is watched through /proc")


def test_a_stage_that_hangs_in_native_code(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the interpreter's lock, so nothing in the child could end it."""
    monkeypatch.setattr(isolate, "GRACE_S", 0.2)
    with pytest.raises(
        OutOfTime, match=r"The stage 'depth' took longer.*300 s.*--stage-time-limit-s"
    ) as caught:
        call(
            tasks.hang_in_the_second_stage,
            tmp_path / "started",
            timeout_s=5000.0,
            stage_timeout_s=300.0,
            progress=clock.jump,
        )
    assert caught.value.stage == "depth"
    assert has_ended(int(wait_for(tmp_path / "started")))


def test_the_limit_is_each_stages_own(clock: Clock) -> None:
    """Stages of 200 s each pass a limit of 300 s; the sum does not count."""

    def later(stage: str, share: float) -> None:
        clock.now += 10.0

    assert call(tasks.slow_stages, [20] * 10, then_s=0.5, stage_timeout_s=300.0, progress=later) == "done"
    with pytest.raises(OutOfTime, match="'frames1'"):
        call(tasks.slow_stages, [20, 40], then_s=60.0, stage_timeout_s=300.0, progress=later)


def test_a_start_that_never_comes_to_a_stage(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match=r"What comes before the first stage.*0\.1 s"):
        call(tasks.hang, tmp_path / "started", deaf=False, stage_timeout_s=0.1)


@linux
@pytest.mark.parametrize("in_a_child", [False, True])
def test_too_much_memory(in_a_child: bool) -> None:
    with (
        IsolatedCall(tasks.grow, (400,), {"in_a_child": in_a_child}, memory_limit_mb=250) as running,
        pytest.raises(OutOfMemory, match=r"stage 'cameras', more than its limit of 250 MB") as caught,
    ):
        family: list[int] = []
        running.wait(lambda *_: family.extend(process_tree(running.pid)))
    assert caught.value.stage == "cameras" and caught.value.limit_mb == 250
    assert 250 < caught.value.peak_mb == running.peak_memory_mb < 700
    assert all(has_ended(pid) for pid in {running.pid, *family})


@linux
def test_mapped_files_and_reserved_addresses_are_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    with path.open("wb") as file:
        for _ in range(300):
            file.write(os.urandom(1 << 20))
    with IsolatedCall(tasks.map_a_file, (path,), memory_limit_mb=150) as running:
        assert running.wait() > 0
    assert 1 < running.peak_memory_mb < 150


@linux
def test_a_child_leaves_no_core_file_and_dies_first() -> None:
    rights = call(tasks.rights)
    assert rights["core"] == (0, 0) and rights["no_new_privs"]
    assert rights["oom"] == max(500, int(Path("/proc/self/oom_score_adj").read_text()))


@linux
def test_what_is_measured() -> None:
    before = held_bytes(os.getpid())
    # pages of the system's own: a process that keeps freed memory may hold those of a bytearray already
    with mmap.mmap(-1, 100_000_000) as block:
        for _ in range(100):
            block.write(b"x" * 1_000_000)
        assert 90e6 < held_bytes(os.getpid()) - before < 110e6
    assert held_bytes(1 << 22) == 0 and process_tree(1 << 22) == [1 << 22]
