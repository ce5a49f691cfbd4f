"""A call in a process of its own: what comes back, and what every kind of death becomes."""

from __future__ import annotations

import errno
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests import isolated_tasks as tasks
from walkaround import errors
from walkaround.cli import main
from walkaround.dataset.schema import SequenceRecord, SourceRecord
from walkaround.errors import OutOfMemory, OutOfTime, OutputError, ProcessDied, SequenceRejected
from walkaround.runners import isolate
from walkaround.runners._channel import ChildTraceback, FrameReader, frame
from walkaround.runners._plain import error_from_json, error_to_json
from walkaround.runners.build import build_isolated
from walkaround.runners.isolate import IsolatedCall

ROOT = Path(__file__).parents[1]


LIMITS = ("timeout_s", "stage_timeout_s", "memory_limit_mb")


def call(function: Any, *args: Any, progress: Any = None, **kwargs: Any) -> Any:
    limits = {name: kwargs.pop(name) for name in LIMITS if name in kwargs}
    with IsolatedCall(function, args, kwargs, **limits) as running:
        return running.wait(progress)


def wait_for(path: Path) -> str:
    for _ in range(600):
        if path.exists():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def has_ended(pid: int) -> bool:
    for _ in range(600):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_frames_in_pieces() -> None:
    reader = FrameReader()
    data = frame(b"one") + frame(b"") + frame(b"three") + frame(b"cut off")[:-1]
    values = [value for byte in data for value in reader.feed(bytes([byte]))]
    assert values == [b"one", b"", b"three"]


def test_a_result_comes_back_from_another_process() -> None:
    record = SequenceRecord(
        class_label="mug", instance_id="0123456789ab", source=SourceRecord(kind="video", sha256="0" * 64)
    )
    big = b"x" * 3_000_000
    assert call(tasks.echo, record) == record
    assert call(tasks.echo, big) == big
    plain = [None, True, 1, 2.5, "ü", (1, ("a",)), {"~": 1, 2: (3,)}, Path("a/b"), float("inf"), b""]
    assert call(tasks.echo, plain) == plain
    assert call(tasks.process_id) != os.getpid()


def test_many_at_once_from_threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: call(tasks.echo, number), range(12))) == list(range(12))


def test_progress_and_log_keep_their_order(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="walkaround")
    seen: list[tuple[float, int]] = []

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "walkaround.tests"]

    assert call(tasks.report, progress=lambda _, share: seen.append((share, len(lines())))) == "done"
    assert lines() == [f"line {number}" for number in range(20)]
    assert seen == [(number / 20, number) for number in range(20)]
    assert any("UserWarning: odd" in record.getMessage() for record in caplog.records)


def test_what_native_code_prints_disturbs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    shares: list[float] = []
    assert call(tasks.shout, progress=lambda _, share: shares.append(share)) == "done"
    assert shares == [number / 20 for number in range(20)]
    assert capfd.readouterr() == ("", "")


ERRORS = pytest.mark.parametrize(
    "error",
    [
        *(
            kind("what, where, the remedy")
            for kind in vars(errors).values()
            if isinstance(kind, type)
            and issubclass(kind, errors.WalkaroundError)
            and kind is not SequenceRejected
        ),
        SequenceRejected("short_arc", "Too short.", {"arc_deg": 3.0}),
        ProcessDied("died", stage="cameras", signal_number=6, native_output="last\nwords"),
        OutOfTime("late", stage="depth"),
        OutOfMemory("fat", stage="depth", peak_mb=12.5, limit_mb=10.0),
        FileNotFoundError(2, "No such file", "x.mp4"),
        ZeroDivisionError("division by zero"),
    ],
    ids=repr,
)


@ERRORS
def test_errors_survive_pickling(error: Exception) -> None:
    """As runners other than ours (Ray) hand them on."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)


@ERRORS
def test_errors_survive_the_channel(error: Exception) -> None:
    copy = error_from_json(json.loads(json.dumps(error_to_json(error))))
    assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)


def test_an_exception_is_raised_here_with_its_traceback() -> None:
    with pytest.raises(SequenceRejected, match=r"Too short\.") as caught:
        call(tasks.reject)
    assert caught.value.reason == "short_arc" and caught.value.scores == {"arc_deg": 3.0}
    assert isinstance(caught.value.__cause__, ChildTraceback) and "in reject" in str(caught.value.__cause__)
    with pytest.raises(KeyError, match="lost"):
        call(tasks.fail, KeyError("lost"))


def test_an_exception_or_result_that_is_not_plain_is_still_told() -> None:
    with pytest.raises(RuntimeError, match="Unpicklable: one two"):
        call(tasks.fail_unpicklable)
    with pytest.raises(TypeError, match=r"only plain values and sequence records.*lambda"):
        call(tasks.give_lambda)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_death_by_a_signal(number: signal.Signals) -> None:
    with pytest.raises(ProcessDied, match=number.name) as caught:
        call(tasks.die, number)
    error = caught.value
    assert (error.stage, error.signal_number) == ("cameras", number)
    assert "in the stage 'cameras'" in str(error) and "continues after the last finished stage" in str(error)
    assert "Check failed: \N{REPLACEMENT CHARACTER}[31mboom\n" in str(error)
    assert "0x7f00aa" not in str(error) and "0x7f00aa" in error.native_output
    assert ("memory" in str(error)) == (number == signal.SIGKILL)


def test_a_library_that_exits() -> None:
    with pytest.raises(ProcessDied, match=r"exit code 7 .* before its first stage") as caught:
        call(tasks.leave, 7)
    assert caught.value.signal_number is None


class Clock:
    """A clock that jumps when the child is in the stage ``depth``: no test waits for a real limit."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def jump(self, stage: str, share: float) -> None:
        if (stage, share) == ("depth", 0.5):
            self.now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(isolate, "time", clock)
    return clock


def test_a_time_limit_lets_python_clean_up(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(OutOfTime, match=r"limit of 500 s in the stage 'depth'.*--time-limit-s"):
        call(tasks.hang, tmp_path / "started", deaf=False, timeout_s=500.0, progress=clock.jump)
    assert (tmp_path / "started.cleaned").exists()


def test_a_real_time_limit(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match=r"limit of 0\.1 s"):
        call(tasks.hang, tmp_path / "started", deaf=False, timeout_s=0.1)


def test_a_time_limit_ends_what_does_not_listen(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolate, "GRACE_S", 0.2)
    with pytest.raises(OutOfTime):
        call(tasks.hang, tmp_path / "started", deaf=True, timeout_s=500.0, progress=clock.jump)
    assert has_ended(int(wait_for(tmp_path / "started")))


def test_another_thread_cancels(tmp_path: Path) -> None:
    cancel = threading.Event()

    def cancel_soon() -> None:
        wait_for(tmp_path / "started")
        cancel.set()

    thread = threading.Thread(target=cancel_soon)
    thread.start()
    with (
        IsolatedCall(tasks.hang, (tmp_path / "started",), {"deaf": False}) as running,
        pytest.raises(CancelledError),
    ):
        running.wait(cancel=cancel)
    thread.join()
    assert has_ended(int(wait_for(tmp_path / "started")))


def test_what_progress_raises_stops_the_child(tmp_path: Path) -> None:
    def refuse(stage: str, share: float) -> None:
        raise KeyboardInterrupt

    running = IsolatedCall(tasks.hang, (tmp_path / "started",), {"deaf": False})
    with pytest.raises(KeyboardInterrupt), running:
        running.wait(refuse)
    assert has_ended(running.pid)


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests import isolated_tasks as tasks
from walkaround.runners.isolate import IsolatedCall
with IsolatedCall(tasks.hang, (Path({started!r}),), {{"deaf": {deaf}}}) as running:
    running.wait()
"""


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_its_parent(tmp_path: Path, number: signal.Signals, deaf: bool) -> None:
    """The parent is a plain script without a main guard, started from another folder."""
    started = tmp_path / "started"
    script = tmp_path / "script.py"
    script.write_text(PARENT.format(root=str(ROOT), started=str(started), deaf=deaf))
    with subprocess.Popen([sys.executable, str(script)], cwd=tmp_path) as parent:
        pid = int(wait_for(started))
        assert not Path(f"/proc/{pid}").samefile("/proc/self")
        parent.send_signal(number)
        assert parent.wait(60) == -number
    assert has_ended(pid)


def test_an_abort_leaves_nothing_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkaround.runners.build.build_sequence", tasks.abort_in_a_stage)
    other = tmp_path / ".work" / "ba9876543210"
    other.mkdir(parents=True)
    other.with_suffix(".lock").write_text("1")
    with pytest.raises(ProcessDied, match="SIGABRT") as caught:
        build_isolated(Path("boom"), tmp_path)
    assert caught.value.stage == "cameras"
    assert sorted(path.name for path in (tmp_path / ".work").iterdir()) == [other.name, other.name + ".lock"]


def test_an_abort_for_want_of_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own words tell, or the disk itself."""
    monkeypatch.setattr("walkaround.runners.build.build_sequence", tasks.abort_in_a_stage)
    with pytest.raises(OutputError, match="The disk is full"):
        build_isolated(Path("SQLite error: database or disk is full"), tmp_path)

    def no_room(folder: Path) -> None:
        raise OutputError(f"The disk is full: {folder}") from OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("walkaround.runners.build.check_room_left", no_room)
    with pytest.raises(OutputError, match="The disk is full"):
        build_isolated(Path("boom"), tmp_path)


def test_the_command_line_says_it_in_one_message(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("walkaround.runners.build.build_sequence", tasks.build_fakes)
    command = ["build", str(source), "--out", str(tmp_path / "root"), "--json"]
    source.write_bytes(b"abort")
    assert main(command) == 1
    out, err = capfd.readouterr()
    assert out == "" and "Traceback" not in err and err.count("error: The process of this build died") == 1
    source.write_bytes(b"a video")
    assert main(command) == 0
    assert json.loads(capfd.readouterr().out)["status"] == "accepted"


@pytest.mark.parametrize("limit", ["-1", "nan"])
def test_a_wrong_time_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str) -> None:
    assert main(["build", "x.mp4", "--out", str(tmp_path), f"--time-limit-s={limit}"]) == 2
    assert "--time-limit-s" in capsys.readouterr().err


def test_the_time_limit_of_the_command_line_then_the_same_command(
    source: Path,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("walkaround.runners.build.build_sequence", tasks.build_fakes)
    monkeypatch.setattr("walkaround.commands.build.progress", lambda: nullcontext(clock.jump))
    source.write_bytes(b"hang")
    root = tmp_path / "root"
    assert main(["build", str(source), "--out", str(root), "--time-limit-s", "500"]) == 1
    assert "reached its time limit of 500 s in the stage 'depth'" in capsys.readouterr().err
    assert not (root / ".work").exists()
    record = json.loads(next(root.glob("*/*/sequence.json")).read_text())
    assert set(record["stages"]) == {"capture", "frames", "cameras"}


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from tests import isolated_tasks
import walkaround.runners.build
from walkaround.cli import main
walkaround.runners.build.build_sequence = isolated_tasks.build_fakes
raise SystemExit(main(sys.argv[1:]))
"""


def test_ctrl_c_ends_both_with_one_message(source: Path, tmp_path: Path) -> None:
    """As a terminal does it: SIGINT goes to the whole process group."""
    source.write_bytes(b"hang")
    root = tmp_path / "root"
    command = [sys.executable, "-c", INTERRUPTED, "build", str(source), "--out", str(root)]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:  # fmt: skip
        pid = int(wait_for(root / "started"))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.count("interrupted; the same command continues") == 1 and "Traceback" not in err
    assert has_ended(pid) and not (root / ".work").exists()
