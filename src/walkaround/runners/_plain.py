"""Values as JSON between a child and its parent: the parent never unpickles what a child sends.

A child decodes files of strangers; a library that such a file takes over must not reach the parent, which
works on all the other sequences. So only plain values come back (None, booleans, numbers, text, bytes, paths,
lists, tuples, dictionaries), sequence records, which are checked like those on disk, and exceptions whose
class is ours or a builtin one. Whatever else arrives is a ``ValueError``.
"""

from __future__ import annotations

import base64
import builtins
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from walkaround import errors
from walkaround.dataset.schema import SequenceRecord, record_from_dict, record_to_dict
from walkaround.errors import FormatError, ProcessDied, SequenceRejected, WalkaroundError

_TAG = "~"
"""The key of a JSON object that stands for something other than a dictionary."""


def to_json(value: Any) -> Any:
    """Return ``value`` as what :mod:`json` can write and :func:`from_json` brings back.

    Raises
    ------
    TypeError
        It holds something that is neither plain nor a sequence record.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [to_json(item) for item in value]
    if isinstance(value, tuple):
        return {_TAG: "tuple", "items": [to_json(item) for item in value]}
    if isinstance(value, dict):
        return {_TAG: "dict", "items": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, bytes):
        return {_TAG: "bytes", "base64": base64.b64encode(value).decode()}
    if isinstance(value, Path):
        return {_TAG: "path", "path": str(value)}
    if isinstance(value, SequenceRecord):
        return {_TAG: "record", "record": record_to_dict(value)}
    raise TypeError(
        f"{type(value).__module__}.{type(value).__qualname__} cannot come back from a child: only plain "
        f"values and sequence records can, and this is {value!r:.60}."
    )


def from_json(value: Any) -> Any:
    """Return what :func:`to_json` was given.

    Raises
    ------
    ValueError
        The value is not of that form.
    """
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_TAG)
    try:
        if kind == "tuple":
            return tuple(from_json(item) for item in _listed(value["items"]))
        if kind == "dict":
            return {from_json(key): from_json(item) for key, item in _listed(value["items"])}
        if kind == "bytes":
            return base64.b64decode(_text(value["base64"]), validate=True)
        if kind == "path":
            return Path(_text(value["path"]))
        if kind == "record":
            return record_from_dict(value["record"], where="the record of a child")
    except (KeyError, TypeError, FormatError) as error:
        raise ValueError(f"{kind}: {error}") from error
    raise ValueError(f"unknown kind {kind!r:.40}")


def error_to_json(error: BaseException) -> dict[str, Any] | None:
    """Return an exception as plain data; None when its class or what it holds cannot come back."""
    kind = type(error)
    try:
        if isinstance(error, SequenceRejected):
            fields = [error.reason, str(error), error.scores]
        elif isinstance(error, WalkaroundError):
            fields = [str(error), vars(error)]
        elif getattr(builtins, kind.__name__, None) is kind:
            fields = list(error.__reduce__()[1])  # with the file name of an OSError
        else:
            return None
        return {"kind": kind.__name__, "fields": to_json(fields)}
    except TypeError:
        return None


def error_from_json(value: Any) -> Exception | None:
    """Return the exception that :func:`error_to_json` described; None when there is none.

    Raises
    ------
    ValueError
        The value is not of that form, or names a class that is neither ours nor a builtin exception.
    """
    if value is None:
        return None
    try:
        kind, fields = value["kind"], _listed(from_json(value["fields"]))
        ours, builtin = vars(errors).get(kind), getattr(builtins, kind, None)
        if isinstance(ours, type) and issubclass(ours, WalkaroundError):
            return _our_error(ours, fields)
        if isinstance(builtin, type) and issubclass(builtin, Exception):
            return builtin(*(printable(item) if isinstance(item, str) else item for item in fields))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(f"an exception: {error}") from error
    raise ValueError(f"{kind!r:.40} is no exception of ours")


def _our_error(kind: type[WalkaroundError], fields: list[Any]) -> WalkaroundError:
    if issubclass(kind, SequenceRejected):
        reason, message, scores = fields
        numbers = {_text(name): float(score) for name, score in _mapping(scores).items()}
        return kind(_said(reason), _said(message), numbers)
    message, extra = fields
    if issubclass(kind, ProcessDied):
        values = {
            name: _DEATH_FIELDS[name](item) for name, item in _mapping(extra).items() if item is not None
        }
        return kind(_said(message), **values)
    return kind(_said(message))


def _said(value: Any) -> str:
    return printable(_text(value))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text was expected, not {value!r:.40}")
    return value


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"a list was expected, not {value!r:.40}")
    return value


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"a dictionary was expected, not {value!r:.40}")
    return value


def printable(text: str) -> str:
    """Replace what a terminal would obey."""
    text = text.replace("\r", "\n")
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


_DEATH_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "stage": _said,
    "signal_number": int,
    "native_output": _said,
    "peak_mb": float,
    "limit_mb": float,
}
"""Of :class:`ProcessDied` and its kinds."""
