"""A decoded video frame: its luma for measuring, and the picture as shown, in correct 8-bit sRGB."""

from __future__ import annotations

from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from walkaround.io.color import srgb_from_signal
from walkaround.types import ByteArray, FloatArray

_TRANSFERS = {16: "pq", 18: "hlg"}  # H.273 table 3; every other curve is shown as it is
_PRIMARIES = {9: "bt2020", 11: "p3", 12: "p3"}  # H.273 table 2; SD primaries are taken as BT.709
_MATRICES = {1: "ITU709", 4: "FCC", 5: "SMPTE170M", 6: "SMPTE170M", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
_LUMA_WEIGHTS = {  # of red and blue
    "ITU709": (0.2126, 0.0722),
    "FCC": (0.30, 0.11),
    "SMPTE170M": (0.299, 0.114),
    "SMPTE240M": (0.212, 0.087),
    "BT2020": (0.2627, 0.0593),
}


class DecodedFrame:
    """A frame as the decoder left it.

    Attributes
    ----------
    source_index
        0-based, in the order of decoding.
    timestamp_s
        From the first frame of the file.
    """

    def __init__(self, frame: Any, source_index: int, timestamp_s: float, pixel_aspect: float) -> None:
        self._frame = frame
        self._pixel_aspect = pixel_aspect
        self.source_index = source_index
        self.timestamp_s = timestamp_s

    def luma(self, long_side_px: int) -> ByteArray:  # (h, w)
        """Return the luma plane, not rotated, shrunk by the whole factor that comes closest to the size.

        Whole factors take OpenCV's fast path: 1080p to 960 px costs well under a millisecond.
        """
        plane = _luma_plane(self._frame)
        factor = max(1, round(max(plane.shape) / long_side_px))
        while factor % 2 == 0 and min(plane.shape) >= 2:  # halving is faster still
            half = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
            plane = cv2.resize(half, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            factor //= 2
        if factor > 1:
            size = (max(1, plane.shape[1] // factor), max(1, plane.shape[0] // factor))
            whole = plane[: size[1] * factor, : size[0] * factor] if min(plane.shape) >= factor else plane
            plane = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
        return plane if plane.dtype == np.uint8 else (plane >> (bit_depth(self._frame) - 8)).astype(np.uint8)

    def image_srgb(self, long_side_px: int | None = None) -> ByteArray:  # (H, W, 3)
        """Return the picture as shown, in 8-bit sRGB, shrunk to ``long_side_px`` if it is larger."""
        frame = self._frame
        curve, gamut = transfer(frame), primaries(frame)
        if curve == "srgb" and gamut == "bt709":
            image = np.asarray(_resize(_rgb24(frame), self._pixel_aspect, long_side_px), np.uint8)
        else:
            signal = np.asarray(_resize(_rgb48(frame), self._pixel_aspect, long_side_px), np.uint16)
            image = srgb_from_signal(signal, transfer=curve, primaries=gamut)
        return np.ascontiguousarray(_as_shown(image, *orientation(frame)), dtype=np.uint8)

    def signal(self) -> NDArray[np.uint16]:  # (H, W, 3)
        """Return R'G'B' as coded, 0..65535, turned as it is shown; no curve is undone, no gamut changed."""
        if bit_depth(self._frame) == 8:
            wide = _rgb24(self._frame).astype(np.uint16) * np.uint16(257)
        else:
            wide = _rgb48(self._frame)
        image = _as_shown(_resize(wide, self._pixel_aspect, None), *orientation(self._frame))
        return np.ascontiguousarray(image, dtype=np.uint16)


def bit_depth(frame: Any) -> int:
    """Return the bits of a luma sample."""
    return int(frame.format.components[0].bits)


def transfer(frame: Any) -> str:
    """Name the transfer function: ``srgb``, ``hlg`` or ``pq``."""
    return _TRANSFERS.get(int(frame.color_trc), "srgb")


def primaries(frame: Any) -> str:
    """Name the primaries: ``bt709``, ``bt2020`` or ``p3``."""
    tagged = _PRIMARIES.get(int(frame.color_primaries))
    if tagged is None and transfer(frame) != "srgb":
        return "bt2020"  # BT.2100 knows no other
    return tagged or "bt709"


def _matrix(frame: Any) -> str:
    """Name the YCbCr matrix; where the file does not say, HDR is BT.2020, HD BT.709, the rest BT.601."""
    tagged = _MATRICES.get(int(frame.colorspace))
    if tagged is not None:
        return tagged
    if primaries(frame) == "bt2020":
        return "BT2020"
    return "ITU709" if frame.width >= 1280 or frame.height > 576 else "SMPTE170M"


def _is_full_range(frame: Any) -> bool:
    return int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")


def _rgb24(frame: Any) -> ByteArray:  # (H, W, 3)
    """Return full-range 8-bit R'G'B', still coded with the video's curve and primaries."""
    kind = av.video.reformatter.Interpolation
    flags = kind.BILINEAR | kind.ACCURATE_RND | kind.FULL_CHR_H_INT | kind.BITEXACT
    extra: dict[str, Any] = {}
    if not frame.format.is_rgb:
        matrix = av.video.reformatter.Colorspace[_matrix(frame)]
        source_range = 2 if _is_full_range(frame) else 1
        extra = {"src_colorspace": matrix, "src_color_range": source_range, "dst_color_range": 2}
    rgb = frame.reformat(format="rgb24", interpolation=flags, threads=1, **extra)
    return np.asarray(rgb.to_ndarray(), np.uint8)


def _rgb48(frame: Any) -> NDArray[np.uint16]:  # (H, W, 3)
    """Return full-range R'G'B' at 16 bits. The matrix is applied here: libswscale's 16-bit RGB is wrong.

    (With FULL_CHR_H_INT its rgb48 has false colours, and without, white is 255/256 of full.)
    """
    flags = av.video.reformatter.Interpolation.BILINEAR
    if frame.format.is_rgb:
        wide = frame.reformat(format="rgb48le", interpolation=flags, threads=1)
        return np.asarray(wide.to_ndarray(), np.uint16)
    same = 2 if _is_full_range(frame) else 1
    wide = frame.reformat(
        format="yuv444p16le", interpolation=flags, threads=1, src_color_range=same, dst_color_range=same
    )
    rgb = cv2.transform(wide.to_ndarray(), _rgb_from_yuv16(_matrix(frame), full=same == 2))
    return np.asarray(rgb, np.uint16)  # cv2 has rounded and clipped


def _rgb_from_yuv16(matrix: str, *, full: bool) -> FloatArray:  # (3, 4)
    """Return the affine map from 16-bit Y'CbCr codes (8-bit ones times 256) to R'G'B' 0..65535.

    R' = Y' + 2(1 - Kr) Cr and B' = Y' + 2(1 - Kb) Cb (BT.709-6 section 3, BT.2020-2 table 5).
    """
    red, blue = _LUMA_WEIGHTS[matrix]
    green = 1.0 - red - blue
    rgb_from_ycc = np.array(
        [
            [1.0, 0.0, 2 * (1 - red)],
            [1.0, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1.0, 2 * (1 - blue), 0.0],
        ]
    )
    luma_span, chroma_span, black = (255.0, 255.0, 0.0) if full else (219.0, 224.0, 16.0)
    gain = 65535.0 / 256.0 / np.array([luma_span, chroma_span, chroma_span])
    linear = rgb_from_ycc * gain
    offset = -linear @ (256.0 * np.array([black, 128.0, 128.0]))
    return np.column_stack([linear, offset])


def _luma_plane(frame: Any) -> NDArray[Any]:  # (H, W) uint8 or uint16
    """View the frame's first plane where it is luma; else convert."""
    name, depth = frame.format.name, bit_depth(frame)
    planar = name.startswith(("yuv", "nv", "gray")) and not name.startswith("yuyv")
    if not planar or (depth > 8 and not name.endswith("le")):
        frame = frame.reformat(format="gray")
        depth = 8
    plane = frame.planes[0]
    kind = np.uint8 if depth <= 8 else np.uint16
    rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
    return rows[: frame.height, : frame.width]


def orientation(frame: Any) -> tuple[int, bool]:
    """Return the clockwise turn in degrees (0, 90, 180, 270) and whether to mirror left-right after it."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), "<i4")[:5].astype(float) / 65536.0
    mirrored = a * d - b * c < 0
    if mirrored:  # undo the mirror on the output's x axis
        a, c = -a, -c
    turn = round(np.degrees(np.arctan2(b, a)) / 90.0) * 90 % 360
    return int(turn), bool(mirrored)


def _as_shown(image: NDArray[Any], turn: int, mirrored: bool) -> NDArray[Any]:
    turned = np.rot90(image, -turn // 90)
    return turned[:, ::-1] if mirrored else turned


def square_pixel_hw(height: int, width: int, pixel_aspect: float) -> tuple[int, int]:
    """Return the height and width that show the picture with square pixels."""
    return height, max(1, round(width * pixel_aspect))


def _resize(image: NDArray[Any], pixel_aspect: float, long_side_px: int | None) -> NDArray[Any]:
    height, width = square_pixel_hw(image.shape[0], image.shape[1], pixel_aspect)
    scale = min(1.0, long_side_px / max(height, width)) if long_side_px else 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (image.shape[1], image.shape[0]):
        return image
    resized: NDArray[Any] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return resized
