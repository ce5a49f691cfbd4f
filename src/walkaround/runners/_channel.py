"""Frames over a pipe, between a runner and the process that it started.

A frame is eight bytes of length and its data. The pipe is one of its own, so nothing that native code prints
can get between two frames; a frame that a dying process cut off is never handed out. The request to the child
is a pickle. What the child sends is JSON (:mod:`walkaround.runners._plain`), of bounded size and cleaned of
what a terminal would obey: the child may be in the hands of the file that it decodes.
"""

from __future__ import annotations

import json
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

from walkaround.runners._plain import error_from_json, error_to_json, from_json, printable, to_json

_LENGTH = struct.Struct(">Q")
_MAX_FRAME_BYTES = 1 << 28
_MAX_NAME = 80


class BrokenChannelError(Exception):
    """The child sent what no child of ours sends."""


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
    """A log record, its text formatted."""

    name: str
    level: int
    text: str
    created: float

    def record(self) -> logging.LogRecord:
        """Return it for the handlers of this process."""
        values = {"name": self.name, "levelno": self.level, "levelname": logging.getLevelName(self.level)}
        return logging.makeLogRecord({**values, "msg": "%s", "args": (self.text,), "created": self.created})


@dataclass(frozen=True)
class Returned:
    """The function's result; the last event."""

    value: Any


@dataclass(frozen=True)
class Raised:
    """The function's exception; the last event."""

    error: Exception | None
    """None when an exception of its class or content cannot come back."""
    summary: str
    traceback: str

    def exception(self) -> Exception:
        """Return the exception, of its own type where that is ours or a builtin one."""
        error = self.error or RuntimeError(self.summary)
        error.__cause__ = ChildTraceback(self.traceback)
        return error


class ChildTraceback(Exception):
    """Shows, as the cause of an exception, where in the child it was raised."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


Event = Progressed | Logged | Returned | Raised


def frame(data: bytes) -> bytes:
    """Return ``data`` as one frame."""
    return _LENGTH.pack(len(data)) + data


def request_frame(request: Request) -> bytes:
    """Return the frame that a parent sends."""
    return frame(pickle.dumps(request))


def read_request(fd: int) -> Request:
    """Read the parent's frame and not a byte more; for the child alone, which trusts its parent.

    Raises
    ------
    EOFError
        The pipe ended before.
    """
    (length,) = _LENGTH.unpack(_read_exactly(fd, _LENGTH.size))
    request: Request = pickle.loads(_read_exactly(fd, length))
    return request


def event_of(data: bytes) -> Event:
    """Return the event that a child's frame holds.

    Raises
    ------
    BrokenChannelError
        It holds none.
    """
    try:
        kind, *fields = json.loads(data)
        if kind == "progress":
            stage, share = fields
            return Progressed(printable(str(stage))[:_MAX_NAME], float(share))
        if kind == "log":
            name, level, text, created = fields
            return Logged(printable(str(name))[:_MAX_NAME], int(level), printable(str(text)), float(created))
        if kind == "returned":
            (value,) = fields
            return Returned(from_json(value))
        if kind == "raised":
            error, summary, trace = fields
            return Raised(error_from_json(error), printable(str(summary)), printable(str(trace)))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BrokenChannelError(f"{type(error).__name__}: {error}") from error
    raise BrokenChannelError(f"an event of the kind {kind!r:.40}")


@dataclass
class FrameReader:
    """Puts frames together from the pieces that a pipe gives."""

    max_bytes: int = _MAX_FRAME_BYTES
    _buffer: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add a piece; yield the data of all frames that are whole now.

        Raises
        ------
        BrokenChannelError
            A frame says that it is larger than ``max_bytes``.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self.max_bytes:
                raise BrokenChannelError(f"an event of {length} bytes")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            data = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield data


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

    def progress(self, stage: str, share: float) -> None:
        """Stand for the caller's progress function."""
        self._send("progress", str(stage), float(share))

    def log(self, record: logging.LogRecord) -> None:
        """Send a log record whose message is formatted."""
        self._send("log", record.name, record.levelno, str(record.msg), record.created)

    def returned(self, value: Any) -> None:
        """Send the result.

        Raises
        ------
        TypeError
            It is neither plain nor a sequence record.
        """
        self._send("returned", to_json(value))

    def raised(self, error: BaseException) -> None:
        """Send the exception, or what it says."""
        summary = f"{type(error).__module__}.{type(error).__qualname__}: {error}"
        self._send("raised", error_to_json(error), summary, "".join(traceback.format_exception(error)))

    def _send(self, *event: Any) -> None:
        """Send one event; a reader that has gone is no error here."""
        data = memoryview(frame(json.dumps(event).encode()))
        with self._lock, suppress(BrokenPipeError):
            while data:
                data = data[os.write(self._fd, data) :]


class ChannelHandler(logging.handlers.QueueHandler):
    """Sends log records instead of printing them."""

    def __init__(self, sender: Sender) -> None:
        super().__init__(queue=None)  # type: ignore[arg-type]
        self._sender = sender

    def enqueue(self, record: logging.LogRecord) -> None:
        self._sender.log(record)
