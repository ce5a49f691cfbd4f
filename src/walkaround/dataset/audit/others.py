"""Depth maps and clouds of a scene."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np

from walkaround.dataset.audit.finding import Finding, make_finding
from walkaround.dataset.readers.scene import Scene
from walkaround.errors import FormatError


def check_depth(
    scene: Scene, sizes_wh: dict[str, tuple[int, int]], registered: Iterable[str], *, decode: bool
) -> list[Finding]:
    """Check the depth maps of our own datasets: there for every image with a camera, 16 bit, its size."""
    key = (scene.class_label, scene.instance_id)
    names = set(scene.files.names("depth"))
    if not names or scene.record is None:
        return []
    bad: dict[str, str] = {}
    absent = []
    for image in sorted(registered):
        path = f"depth/{PurePosixPath(image).stem}.png"
        if image not in sizes_wh:
            continue
        if scene.files.size(path) is None:
            absent.append(path)
            continue
        said = _broken_depth(scene, path, image, sizes_wh[image], decode=decode)
        if said:
            bad[path] = said
    findings = []
    if absent:
        findings.append(make_finding(key, "missing_depth", absent, f"{len(absent)} maps"))
    if bad:
        files = list(bad)
        findings.append(make_finding(key, "broken_depth", files, bad[files[0]]))
    return findings


def _broken_depth(scene: Scene, path: str, image: str, size_wh: tuple[int, int], *, decode: bool) -> str:
    try:
        if decode:
            found = scene.read_depth(image)
            if found is not None and found[0].shape[::-1] != size_wh:
                return f"size {found[0].shape[::-1]}, image {size_wh}"
            return ""
        data = scene.files.read(path)
    except FormatError as error:
        return str(error)
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 33 or data[-8:-4] != b"IEND":
        return f"{len(data)} bytes, no whole PNG file"
    width, height, bits, kind = struct.unpack_from(">IIBB", data, 16)
    if (bits, kind) != (16, 0):
        return f"{bits} bits, colour type {kind}; 16 bits of grey were expected"
    return "" if (width, height) == size_wh else f"{width} x {height}, image {size_wh[0]} x {size_wh[1]}"


def check_cloud(scene: Scene) -> list[Finding]:
    """Check that the cloud can be read and holds finite points."""
    key = (scene.class_label, scene.instance_id)
    names = [name for name in ("cloud.ply", "cloud.pcd") if scene.files.size(name) is not None]
    try:
        cloud = scene.read_cloud()
    except FormatError as error:
        said = str(error)
    else:
        if cloud is None:
            return []
        finite = np.atleast_1d(np.isfinite(cloud.points_in_world).all(axis=1))
        if len(finite) and finite.all():
            return []
        said = f"{int((~finite).sum())} of {len(finite)} points are not finite" if len(finite) else "0 points"
    repair = "cloud" if scene.image_names else ""
    return [make_finding(key, "broken_cloud", names[:1], said, repair=repair)]
