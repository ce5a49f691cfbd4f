"""Captures that kill, hang or fill the disk, and the fake stages that do so (through tests/hooks)."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import time
from pathlib import Path
from typing import Any

from tests import fakes
from walkaround.errors import InputError

WHAT = re.compile(rb"(segfault|hang|abort|once|slow|corrupt|boom|sleep)\b")


def install() -> None:
    """Replace the slow stages of this process by fakes that do what the capture's content says."""
    importlib.import_module("walkaround.pipeline")
    for target, function in {**fakes.PATCHES, **_OWN}.items():
        module, name = target.rsplit(".", 1)
        setattr(importlib.import_module(module), name, function)


def _inspect(source: Path, *, options: Any) -> Any:
    if b"corrupt" in source.read_bytes():
        raise InputError(f"{source} cannot be decoded: broken header.")
    return fakes.inspect_capture(source, options=options)


def _extract(source: Path, *rest: Any, **options: Any) -> Any:
    data = source.read_bytes()
    if b"slow" in data:
        time.sleep(float(os.environ.get("WALKAROUND_TEST_SLOW_S", "0.3")))
    result = fakes.extract_frames(source, *rest, **options)
    if b"boom" in data:
        raise RuntimeError(f"{source.name} hit a bug")
    if b"segfault" in data:
        os.write(2, b"reading " + str(source).encode() + b"\n")
        ctypes.string_at(0)
    if b"abort" in data:
        os.abort()
    if b"hang" in data:
        ctypes.PyDLL(None).sleep(600)  # with the interpreter's lock, as native code does
    if b"once" in data:
        _die_once(source)
    return result


def _die_once(source: Path) -> None:
    flag = source.with_name(f".{source.name}.died")
    if not flag.exists():
        flag.touch()
        os.abort()


_OWN = {"walkaround.capture.inspect_capture": _inspect, "walkaround.frames.extract_frames": _extract}
