"""Call a function in a process of its own, which may abort, hang or be killed.

A native library can end its whole process: COLMAP's database aborts on a full disk, a codec crashes on a
broken file, the kernel kills what takes too much memory. :class:`IsolatedCall` turns all that into an
exception of :mod:`walkaround.errors`. Progress, log records, the result and exceptions come back as they
would from a plain call.

The child is a fresh interpreter, not a fork and not multiprocessing's spawn: a script needs no main guard.
It ends with its parent, whatever ends that one. Many calls can run at once, each waited for by a thread;
the thread that made a call must wait for it (Linux ties the child's life to that thread).
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from walkaround.errors import ProcessDied
from walkaround.runners._channel import (
    BrokenChannelError,
    Event,
    FrameReader,
    Logged,
    Progressed,
    Raised,
    Request,
    Returned,
    event_of,
    request_frame,
)
from walkaround.runners._deaths import (
    LastWords,
    death,
    out_of_memory,
    out_of_time,
    sent_nonsense,
    stage_out_of_time,
)
from walkaround.runners._memory import MemoryWatch, kill_descendants

T = TypeVar("T")

GRACE_S = 3.0
"""From SIGTERM, which lets Python code clean up, to SIGKILL."""
_POLL_S = 0.2
"""How often a cancel event is looked at."""
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from walkaround.runners._child import main; main(int(sys.argv.pop()))"
)


class IsolatedCall(Generic[T]):
    """A running call. Use it as a context, which stops the child when it is left early::

        with IsolatedCall(build_sequence, (source, root), {"options": options}, timeout_s=3600) as call:
            record = call.wait(progress)

    Parameters
    ----------
    function
        Defined at the top level of a module that can be imported (not in a script), and taking a keyword
        ``progress``, a function of a stage's name and the share done.
    args, kwargs
        Everything in them must pickle. The result is no pickle: plain values and sequence records come back
        (:mod:`walkaround.runners._plain`).
    timeout_s
        Stop the child after so many seconds; None for no limit.
    stage_timeout_s
        Stop it when one stage takes longer: the time since progress first named another stage (or since the
        start); None for no limit.
    memory_limit_mb
        Kill it when it and what it started hold more memory than so many MB; looked at ten times a second,
        on Linux only (:mod:`walkaround.runners._memory` says what counts); None for no limit.

    Raises
    ------
    ProcessDied
        The system cannot start another process.
    """

    def __init__(
        self,
        function: Callable[..., T],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        stage_timeout_s: float | None = None,
        memory_limit_mb: float | None = None,
    ) -> None:
        self._started = self._stage_started = time.monotonic()
        self._timeout_s = timeout_s
        self._stage_timeout_s = stage_timeout_s
        self._stage = ""
        self._frames = FrameReader()
        self._words = LastWords()
        self._outcome: Returned | Raised | None = None
        request = request_frame(
            Request(function=function, args=args, kwargs=kwargs or {}, log_levels=_log_levels())
        )
        self._process, self._events = _start()
        self._memory = MemoryWatch(self._process.pid, memory_limit_mb)
        with suppress(BrokenPipeError):  # it died at once: wait() tells
            _pipe(self._process.stdin).write(request)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def peak_memory_mb(self) -> float:
        """The most that the child and what it started were seen to hold; 0 where nothing is measured."""
        return self._memory.peak_mb

    def wait(
        self,
        progress: Callable[[str, float], None] | None = None,
        *,
        cancel: threading.Event | None = None,
    ) -> T:
        """Wait for the result; meanwhile pass progress and log records on, in order.

        Parameters
        ----------
        progress
            Called in this thread; what it raises leaves from here.
        cancel
            Another thread sets it to stop the child.

        Raises
        ------
        ProcessDied
            The child ended without an outcome: aborted, crashed, killed; or it sent what no child sends.
        OutOfTime
            The time limit or a stage's was reached, and the child was stopped.
        OutOfMemory
            It held more memory than its limit, and was killed.
        concurrent.futures.CancelledError
            ``cancel`` was set, and the child was stopped.
        Exception
            Whatever the function raised, the child's traceback as its cause: of the same type when that is
            of :mod:`walkaround.errors` or a builtin one, else a RuntimeError that names it.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._events, selectors.EVENT_READ)
            selector.register(_pipe(self._process.stdout), selectors.EVENT_READ)
            while self._outcome is None and self._events in selector.get_map():
                self._check(cancel)
                for key, _ in selector.select(self._patience_s(cancel)):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self._events:
                        self._take(data, progress)
                    else:
                        self._words.add(data)
        return self._result()

    def stop(self) -> None:
        """End the child (SIGTERM, then SIGKILL) if it still runs; only in the thread that waits for it."""
        try:
            if self._process.poll() is None and self._outcome is None:
                self._process.terminate()
            for pipe in (self._events, _pipe(self._process.stdout)):
                pipe.close()  # a child blocked by a full pipe goes on
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        finally:
            self._kill()
            _pipe(self._process.stdin).close()

    def __enter__(self) -> IsolatedCall[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _kill(self) -> None:
        """End the child and what it started at once."""
        if self._process.poll() is None:
            kill_descendants(self.pid)
            self._process.kill()
            self._process.wait()

    def _take(self, data: bytes, progress: Callable[[str, float], None] | None) -> None:
        try:
            for piece in self._frames.feed(data):
                self._dispatch(event_of(piece), progress)
        except BrokenChannelError as error:
            self._kill()
            raise sent_nonsense(str(error), self._stage, self._words) from error

    def _dispatch(self, event: Event, progress: Callable[[str, float], None] | None) -> None:
        if isinstance(event, Progressed):
            if event.stage != self._stage:
                self._stage, self._stage_started = event.stage, time.monotonic()
            if progress is not None:
                progress(event.stage, event.share)
        elif isinstance(event, Logged):
            target = logging.getLogger(event.name)
            if target.isEnabledFor(event.level):
                target.handle(event.record())
        else:
            self._outcome = event

    def _check(self, cancel: threading.Event | None) -> None:
        if cancel is not None and cancel.is_set():
            self.stop()
            raise CancelledError(f"The call was cancelled in the stage {self._stage!r}.")
        if self._memory.over_limit():
            self._kill()
            self._words.drain(_pipe(self._process.stdout))
            raise out_of_memory(self._memory, self._stage, self._words)
        now = time.monotonic()
        if self._timeout_s is not None and now - self._started >= self._timeout_s:
            self.stop()
            raise out_of_time(self._timeout_s, self._stage, self._words)
        if self._stage_timeout_s is not None and now - self._stage_started >= self._stage_timeout_s:
            self.stop()
            raise stage_out_of_time(self._stage_timeout_s, self._stage, self._words)

    def _patience_s(self, cancel: threading.Event | None) -> float:
        """Return how long to wait for the next event at most."""
        times = [self._memory.every_s]
        if cancel is not None:
            times.append(_POLL_S)
        for start, limit in (
            (self._started, self._timeout_s),
            (self._stage_started, self._stage_timeout_s),
        ):
            if limit is not None:
                times.append(max(start + limit - time.monotonic(), 0.0))
        return min(times)

    def _result(self) -> T:
        if isinstance(self._outcome, Raised):
            raise self._outcome.exception()
        if isinstance(self._outcome, Returned):
            value: T = self._outcome.value
            return value
        try:
            code = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:  # it closed its pipe and lives: nothing will come any more
            self._kill()
            code = self._process.returncode
        self._words.drain(_pipe(self._process.stdout))
        raise death(code, self._stage, self._words)


def _start() -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start the interpreter; return the process and the end of the pipe that its events come from."""
    read_fd, write_fd = os.pipe()
    events = os.fdopen(read_fd, "rb", buffering=0)
    command = [sys.executable, "-P", "-c", _BOOT, str(write_fd), json.dumps(_search_path())]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=(write_fd,),
        )
    except OSError as error:
        events.close()
        raise ProcessDied(
            f"No process could be started for this build ({error}). Run fewer at once, or end other programs."
        ) from error
    finally:
        os.close(write_fd)
    return process, events


def _search_path() -> list[str]:
    return [str(path) or str(Path.cwd()) for path in sys.path]


def _log_levels() -> dict[str, int]:
    return {name: logging.getLogger(name).getEffectiveLevel() for name in ("", "walkaround")}


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise TypeError("the stream is no pipe")
    return stream
