"""Radiance images: OpenEXR (the ASWF's own wheel, extra ``hdr``) and Radiance HDR (OpenCV).

OpenCV's wheel is built without OpenEXR, hence the other package. Chromaticities that a file states are
not applied: the values are taken as linear light in three channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.errors import InputError, OutputError, UsageError
from walkaround.io.atomic import atomic_path, write_bytes
from walkaround.io.exif import light_ev
from walkaround.types import Float32Array

RADIANCE_SUFFIXES = (".exr", ".hdr")


def read_radiance(path: Path) -> Float32Array:
    """Read an ``.exr`` or ``.hdr`` file.

    Returns
    -------
    (H, W, 3) linear RGB, not negative; values that are not finite (a lamp over half float's range, a
    division by zero) become the largest finite value of their channel, NaN becomes 0.

    Raises
    ------
    InputError
        The file is missing, damaged, of another format, or has no colour or luminance channel.
    UsageError
        An ``.exr`` file, and OpenEXR is not installed.
    """
    if not path.is_file():
        raise InputError(f"There is no radiance image {path}. Check the path.")
    suffix = path.suffix.lower()
    if suffix == ".exr":
        return _cleaned(_read_exr(path))
    if suffix == ".hdr":
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None or image.ndim != 3:
            raise InputError(f"{path} is damaged or not a Radiance HDR file. Export it again.")
        return _cleaned(image[..., ::-1])
    wanted = " or ".join(RADIANCE_SUFFIXES)
    raise InputError(f"{path.name} ends in {suffix or 'nothing'}; a radiance image ends in {wanted}.")


def _read_exr(path: Path) -> Any:
    OpenEXR = import_openexr(path.name)
    try:
        with OpenEXR.File(str(path)) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged or not an OpenEXR file ({error}). Export it again.") from error
    for name in ("RGB", "RGBA"):
        if name in channels:
            return channels[name][..., :3]
    if "Y" in channels:
        return np.repeat(channels["Y"][..., None], 3, axis=2)
    raise InputError(f"{path} has the channels {', '.join(channels)}; it needs R, G, B or Y.")


def read_exposure_ev(path: Path) -> float | None:
    """Read how much light was let in from OpenEXR's standard attributes expTime, isoSpeed and aperture.

    None for ``.hdr``, without expTime, and where the file cannot be read, which :func:`read_radiance` says.

    Raises
    ------
    UsageError
        An ``.exr`` file, and OpenEXR is not installed.
    """
    if path.suffix.lower() != ".exr":
        return None
    OpenEXR = import_openexr(path.name)
    names = (("expTime", 0.0), ("isoSpeed", 100.0), ("aperture", 1.0))
    try:
        with OpenEXR.File(str(path), header_only=True) as file:  # its header is empty once it is closed
            return light_ev(*(float(file.header().get(name, missing)) for name, missing in names))
    except (RuntimeError, ValueError, TypeError):
        return None


def _cleaned(image: Any) -> Float32Array:
    """Float32, nothing negative, nothing infinite, no NaN."""
    values = np.array(image, dtype=np.float32)
    for channel in range(3):
        plane = values[..., channel]
        finite = plane[np.isfinite(plane)]
        top = float(finite.max()) if finite.size else 0.0
        np.nan_to_num(plane, copy=False, nan=0.0, posinf=top, neginf=0.0)
    return np.maximum(values, 0.0)


def write_radiance(path: Path, radiance: Float32Array) -> None:
    """Write (H, W, 3) linear RGB as half-float ``.exr`` (ZIP) or as ``.hdr``, atomically.

    Raises
    ------
    OutputError
        The folder is read-only or the disk is full.
    UsageError
        Another suffix, or an ``.exr`` file and OpenEXR is not installed.
    """
    if path.suffix == ".exr":
        OpenEXR = import_openexr(path.name)
        half = np.minimum(radiance, np.float32(65504.0)).astype(np.float16)
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        with atomic_path(path) as temporary:
            OpenEXR.File(header, {"RGB": half}).write(str(temporary))
        return
    if path.suffix != ".hdr":
        raise UsageError(f"{path.name} must end in {' or '.join(RADIANCE_SUFFIXES)}.")
    ok, data = cv2.imencode(".hdr", np.ascontiguousarray(radiance[..., ::-1]))
    if not ok:
        raise OutputError(f"{path} could not be encoded as Radiance HDR.")
    write_bytes(path, data.tobytes())


def import_openexr(name: str) -> Any:
    """Return the module OpenEXR.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        import OpenEXR
    except ImportError as error:
        raise UsageError(
            f"{name} needs the package OpenEXR. Install it: pip install 'walkaround[hdr]'."
        ) from error
    return OpenEXR
