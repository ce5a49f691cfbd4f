"""Video colour to sRGB: transfer functions, primaries and the mapping of HDR to a white of 203 nits.

One formula family a function, each with its source:

- sRGB: IEC 61966-2-1.
- PQ and HLG: Recommendation ITU-R BT.2100-2, tables 4 and 5.
- HDR reference white, 203 nits (58 % PQ, 75 % HLG): Report ITU-R BT.2408, section 2.1.
- Primaries to primaries: SMPTE RP 177, with the chromaticities of BT.709, BT.2020 and SMPTE EG 432 (P3-D65).

Content below the reference white keeps its colour exactly; what is brighter is rolled off
(:func:`compress_highlights`), because an sRGB file has no room for it.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.types import ByteArray, Float32Array, FloatArray

REFERENCE_WHITE_NITS = 203.0
HLG_PEAK_NITS = 1000.0
HLG_GAMMA = 1.2
KNEE = 0.9

_XY = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)


def srgb_from_linear(linear: FloatArray) -> FloatArray:
    """Encode linear light 0..1 (clipped) as sRGB 0..1."""
    x = np.clip(linear, 0.0, 1.0)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1.0 / 2.4) - 0.055)


def linear_from_srgb(encoded: FloatArray) -> FloatArray:
    """Decode sRGB 0..1 to linear light 0..1."""
    x = np.clip(encoded, 0.0, 1.0)
    return np.where(x <= 0.04045, x / 12.92, np.power((x + 0.055) / 1.055, 2.4))


def nits_from_pq(signal: FloatArray) -> FloatArray:
    """PQ's EOTF: signal 0..1 to display light in nits, 0..10000."""
    m1, m2 = 2610.0 / 16384.0, 2523.0 / 4096.0 * 128.0
    c1, c2, c3 = 3424.0 / 4096.0, 2413.0 / 4096.0 * 32.0, 2392.0 / 4096.0 * 32.0
    x = np.power(np.clip(signal, 0.0, 1.0), 1.0 / m2)
    return 10000.0 * np.power(np.maximum(x - c1, 0.0) / (c2 - c3 * x), 1.0 / m1)


def scene_from_hlg(signal: FloatArray) -> FloatArray:
    """HLG's inverse OETF: signal 0..1 to scene light 0..1."""
    a = 0.17883277
    b = 1.0 - 4.0 * a
    c = 0.5 - a * np.log(4.0 * a)
    x = np.clip(signal, 0.0, 1.0)
    return np.where(x <= 0.5, x * x / 3.0, (np.exp((x - c) / a) + b) / 12.0)


@lru_cache
def xyz_from_rgb(primaries: str) -> FloatArray:  # (3, 3)
    """Return the matrix from linear RGB of ``primaries`` to CIE XYZ, white D65."""
    columns = np.array([[x / y, 1.0, (1.0 - x - y) / y] for x, y in _XY[primaries]]).T
    x, y = _D65
    white = np.array([x / y, 1.0, (1.0 - x - y) / y])
    return columns * np.linalg.solve(columns, white)


@lru_cache
def bt709_from(primaries: str) -> FloatArray:  # (3, 3)
    """Return the matrix from linear RGB of ``primaries`` to linear BT.709 (and sRGB) RGB."""
    return np.asarray(np.linalg.solve(xyz_from_rgb("bt709"), xyz_from_rgb(primaries)), np.float64)


def compress_highlights(linear: Float32Array) -> Float32Array:  # (..., 3) -> (..., 3)
    """Roll light above the knee off towards 1, the largest channel leading so that hues stay.

    With m the largest channel, k the knee: m <= k stays, else k + (1-k)(1 - exp(-(m-k)/(1-k))),
    which is smooth at k. Reference white lands at 0.963 (sRGB 251), 260 nits at 253, all above at 255.
    """
    peak = np.maximum(np.maximum(linear[..., 0], linear[..., 1]), linear[..., 2])
    over = np.maximum(peak - KNEE, 0.0)
    target = np.minimum(peak, KNEE) + (1.0 - KNEE) * -np.expm1(-over / (1.0 - KNEE))
    gain = np.where(over > 0, target / np.maximum(peak, 1e-6), 1.0)
    return np.asarray(linear * gain[..., None], np.float32)


def srgb_from_signal(signal: NDArray[np.uint16], *, transfer: str, primaries: str) -> ByteArray:
    """Turn full-range R'G'B' into 8-bit sRGB.

    Parameters
    ----------
    signal
        (H, W, 3), 0..65535 over the signal's 0..1.
    transfer
        ``srgb``, ``hlg`` or ``pq``. BT.709 and BT.601 count as ``srgb``: their pictures are made to be
        looked at on such a display, and every player shows them so.
    primaries
        ``bt709``, ``bt2020`` or ``p3``.

    Returns
    -------
    (H, W, 3) uint8.
    """
    linear = _decode_table(transfer)[signal]
    if transfer == "hlg":  # OOTF: display light = peak * Y_scene^(gamma - 1) * scene light
        luminance = linear @ xyz_from_rgb(primaries)[1].astype(np.float32)
        gain = np.power(np.maximum(luminance, 1e-6), HLG_GAMMA - 1.0)
        linear *= (HLG_PEAK_NITS / REFERENCE_WHITE_NITS * gain)[..., None].astype(np.float32)
    if primaries != "bt709":
        linear = cv2.transform(linear, bt709_from(primaries).astype(np.float32))
    linear = np.maximum(linear, 0.0, out=linear)
    if transfer != "srgb":
        linear = compress_highlights(linear)
    codes = np.minimum(linear * 65535.0 + 0.5, 65535.0).astype(np.uint16)
    return np.asarray(_encode_table()[codes])


@lru_cache
def _decode_table(transfer: str) -> Float32Array:  # (65536,)
    signal = np.arange(65536) / 65535.0
    if transfer == "pq":
        return (nits_from_pq(signal) / REFERENCE_WHITE_NITS).astype(np.float32)
    if transfer == "hlg":
        return scene_from_hlg(signal).astype(np.float32)
    return linear_from_srgb(signal).astype(np.float32)


@lru_cache
def _encode_table() -> ByteArray:  # (65536,)
    return np.round(srgb_from_linear(np.arange(65536) / 65535.0) * 255.0).astype(np.uint8)
