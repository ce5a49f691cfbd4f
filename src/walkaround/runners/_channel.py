"""Framed pickles over a pipe, between a runner and the process that it started.

A frame is eight bytes of length and a pickle. The pipe is one of its own, so nothing that native code
prints can get between two frames; a frame that a dying process cut off is never handed out.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import pickle
import struct
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a child is asked to do: ``function(*args, **kwargs, progress=...)``."""

    function: Callable[..., Any]
    """At the top level of a module that can be imported: it is pickled by its name."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    log_levels: Mapping[str, int]
    """Logger name -> level; ``""`` is the root."""


@dataclass(frozen=True)
class Progressed:
    """A call of the progress function."""

    stage: str
    share: float


@dataclass(frozen=True)
class Logged:
    """A log record; its text is formatted already."""

    record: logging.LogRecord


@dataclass(frozen=True)
class Returned:
    """The function's result; the last event."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """The function's exception; the last event. It is pickled on its own, because that may fail."""

    error: bytes
    summary: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """Make the event, whether or not the exception survives pickling."""
        try:
            data = pickle.dumps(error)
            pickle.loads(data)
        except Exception:
            data = b""
        summary = f"{type(error).__module__}.{type(error).__qualname__}: {error}"
        return cls(data, summary, "".join(traceback.format_exception(error)))

    def exception(self) -> BaseException:
        """Return the exception, of its own type where that type can be loaded here."""
        try:
            error = pickle.loads(self.error)
        except Exception:
            error = None
        if not isinstance(error, BaseException):
            error = RuntimeError(self.summary)
        error.__cause__ = ChildTraceback(self.traceback)
        return error


class ChildTraceback(Exception):
    """Shows, as the cause of an exception, where in the child it was raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


Event = Progressed | Logged | Returned | Raised


def frame(value: Any) -> bytes:
    """Return ``value`` as one frame."""
    data = pickle.dumps(value)
    return _LENGTH.pack(len(data)) + data


@dataclass
class FrameReader:
    """Puts frames together from the pieces that a pipe gives."""

    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Any]:
        """Add a piece; yield the values of all frames that are whole now."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            data = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield pickle.loads(data)


def read_frame(fd: int) -> Any:
    """Read one frame and not a byte more.

    Raises
    ------
    EOFError
        The pipe ended before.
    """
    (length,) = _LENGTH.unpack(_read_exactly(fd, _LENGTH.size))
    return pickle.loads(_read_exactly(fd, length))


def _read_exactly(fd: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = os.read(fd, min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)


class Sender:
    """The child's end: sends events from any thread, in order."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.RLock()

    def send(self, event: Event) -> None:
        """Send one event; a reader that has gone is no error here."""
        data = memoryview(frame(event))
        with self._lock, suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._fd, data) :]

    def progress(self, stage: str, share: float) -> None:
        """Stand for the caller's progress function."""
        self.send(Progressed(str(stage), float(share)))


class ChannelHandler(logging.handlers.QueueHandler):
    """Sends log records instead of printing them."""

    def __init__(self, sender: Sender) -> None:
        super().__init__(queue=None)  # type: ignore[arg-type]
        self._sender = sender

    def enqueue(self, record: logging.LogRecord) -> None:
        self._sender.send(Logged(record))
