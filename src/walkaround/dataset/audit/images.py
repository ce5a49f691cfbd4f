"""Which images of a scene are there and whole."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import cv2

from walkaround.dataset.audit.finding import Finding, make_finding
from walkaround.dataset.readers.scene import Scene
from walkaround.errors import FormatError
from walkaround.io.image import decode_stored
from walkaround.io.image_size import stated_size_wh

Complaints = Callable[[], str]
"""Returns what native libraries printed since it was asked last."""


def no_complaints() -> str:
    """Stand for libraries that nobody listens to."""
    return ""


@dataclass(kw_only=True)
class ImagesFound:
    """What the images' files say."""

    sizes_wh: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Name -> width and height, of the whole ones."""
    findings: list[Finding] = field(default_factory=list)


def check_images(scene: Scene, *, decode: bool, complaints: Complaints = no_complaints) -> ImagesFound:
    """Look at every image's header and end; decode it too when asked."""
    key = (scene.class_label, scene.instance_id)
    found = ImagesFound()
    bad: dict[str, list[tuple[str, str]]] = {"unreadable_image": [], "cut_off_image": []}
    for name in scene.image_names:
        try:
            data = scene.image_bytes(name)
        except FormatError as error:
            bad["unreadable_image"].append((name, str(error)))
            continue
        size_wh = stated_size_wh(data)
        if size_wh is None:
            said = f"{len(data)} bytes, no header of a known format" if data else "0 bytes"
            bad["unreadable_image"].append((name, said))
            continue
        problem = _damage(data, decode=decode, complaints=complaints)
        if problem:
            bad["cut_off_image"].append((name, problem))
        else:
            found.sizes_wh[name] = size_wh
    for code, items in bad.items():
        if items:
            files = [f"images/{name}" for name, _ in items]
            found.findings.append(make_finding(key, code, files, items[0][1]))
    gap = numbering_gap(scene.image_names)
    if gap:
        found.findings.append(make_finding(key, "numbering_gap", (), gap))
    return found


def _damage(data: bytes, *, decode: bool, complaints: Complaints) -> str:
    """Say what is wrong with an image behind its header; empty for nothing.

    Within a JPEG's scan no byte pair can look like a marker, so the last end marker must come after the last
    start of scan (ITU-T T.81, B.1.1.5). Of a PNG, reading the header has walked all chunks.
    """
    if data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return f"ends after {len(data)} bytes without JPEG's end marker"
    if not decode:
        return ""
    complaints()
    pixels = decode_stored(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    said = complaints()
    if pixels is None:
        return "cannot be decoded"
    return said if "orrupt" in said or "premature" in said.lower() else ""


def numbering_gap(names: tuple[str, ...]) -> str:
    """Say which numbers are missing between the first and the last; empty when none is, or names differ."""
    numbers: dict[str, list[int]] = {}
    for name in names:
        match = re.fullmatch(r"(.*?)(\d+)", PurePosixPath(name).stem)
        if match is None:
            return ""
        numbers.setdefault(match[1], []).append(int(match[2]))
    if len(numbers) != 1:
        return ""
    (there,) = numbers.values()
    span = max(there) - min(there) + 1
    steps = {b - a for a, b in zip(sorted(there), sorted(there)[1:], strict=False)}
    if span == len(there) or len(steps) == 1 or span > 10 * len(there):
        return ""
    missing = sorted(set(range(min(there), max(there) + 1)) - set(there))
    listed = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    return f"{len(missing)} of {span} numbers are missing: {listed}"


@contextmanager
def heard_complaints() -> Iterator[Complaints]:
    """Listen to what native code prints on stderr, for a process that does nothing else meanwhile.

    libjpeg decodes damaged data without an error and says so only there.
    """
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        read = 0

        def complaints() -> str:
            nonlocal read
            size = os.fstat(heard.fileno()).st_size
            if size == read:
                return ""
            said = os.pread(heard.fileno(), min(size - read, 300), read)
            read = size
            return " ".join(said.decode("ascii", "replace").split())

        try:
            yield complaints
        finally:
            os.dup2(before, 2)
            os.close(before)
