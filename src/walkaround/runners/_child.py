"""The process that :class:`walkaround.runners.isolate.IsolatedCall` starts.

File descriptor 0 brings the request and stays open as a leash: when it ends, the parent has gone and this
process ends as well. Events go to a pipe whose number is the argument. Descriptors 1 and 2 belong to
whatever native code prints.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from walkaround.runners._channel import ChannelHandler, Request, Sender, read_request

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_OOM_SCORE = 500
"""Of -1000 (never) to 1000 (first)."""


class Stopped(KeyboardInterrupt):
    """The parent asked this process to end (SIGTERM); leaves every ``with`` block in order."""


def main(events_fd: int) -> None:
    """Do what the request says, send the outcome, and end without the interpreter's own clean-up.

    Libraries' destructors have nothing left to do here and could still hang or abort.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads wait by spinning, a waste beside others
    leash = _take_leash()
    os.set_inheritable(events_fd, False)
    _die_with_the_parent()
    _die_before_the_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what it decodes must not lie about as a core file
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the parent decides
    signal.signal(signal.SIGTERM, _stop)
    code = 0
    try:
        _serve(leash, Sender(events_fd))
    except Stopped:
        code = 128 + signal.SIGTERM
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _serve(leash: int, sender: Sender) -> None:
    try:
        request = read_request(leash)
        threading.Thread(target=_watch, args=(leash,), daemon=True, name="leash").start()
        _set_up_logging(request, sender)
        sender.returned(_call(request, sender))
    except Stopped:
        raise
    except BaseException as error:
        sender.raised(error)


def _call(request: Request, sender: Sender) -> Any:
    return request.function(*request.args, **request.kwargs, progress=sender.progress)


def _take_leash() -> int:
    """Move the leash away from descriptor 0, where a library could read from it."""
    leash = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return leash


def _watch(leash: int) -> None:
    """Wait for the parent's end. What a build left half done, its next run puts right."""
    while os.read(leash, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def _die_with_the_parent() -> None:
    """Ask Linux for what :func:`_watch` does: native code may keep a thread from running.

    Nor may it get more rights than it has, by a set-user-id program.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _die_before_the_parent() -> None:
    """When memory runs out, let Linux kill this process rather than the one that waits for it."""
    with suppress(OSError):
        own = Path("/proc/self/oom_score_adj")
        own.write_text(str(max(int(own.read_text()), _OOM_SCORE)))


def _stop(number: int, stack: FrameType | None) -> None:
    raise Stopped


def _set_up_logging(request: Request, sender: Sender) -> None:
    logging.captureWarnings(True)
    logging.getLogger().addHandler(ChannelHandler(sender))
    for name, level in request.log_levels.items():
        logging.getLogger(name).setLevel(level)
