"""Boxes of faces, licence plates or whatever else an ONNX detector was trained for.

No detector comes with walkaround: the user passes files of known licence and quality. Two kinds are
understood, told apart by their outputs:

- YuNet (Wu et al. 2023, doi:10.1007/s11633-023-1423-y; OpenCV's model zoo), faces;
- YOLO-style ones with one image in and one table out, as ``yolo export format=onnx`` and its kin write them:
  (1, 4 + classes, N) of version 8 and later, (1, N, 5 + classes) of version 5 to 7, or (1, N, 6) with the
  suppression of doubles built in. All classes count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from walkaround.errors import UsageError
from walkaround.types import ByteArray, Float32Array, FloatArray

INPUT_PX = 640
"""Side of the square for a model that fixes none."""
_PADDING = 114
_YUNET_STRIDES = (8, 16, 32)
_MAX_BUILT_IN = 1000
"""A table (1, N, 6) with at most so many rows has the suppression of doubles built in."""
_DOUBLE_IOU = 0.5
_TILED_FROM = 1.5
"""Of the model's input: a larger picture is looked at in four overlapping parts, too."""
_TILE_SHARE = 0.6


class Detector:
    """One model.

    Raises
    ------
    UsageError
        onnxruntime is not installed, or the file is not a detector of a known kind.
    """

    def __init__(self, path: Path, *, min_score: float) -> None:
        self._path = path
        self._min_score = min_score
        self._session = _session(path)
        self._input = self._session.get_inputs()[0]
        shape = self._input.shape
        if len(shape) != 4 or shape[1] != 3:
            raise UsageError(f"--frames.blur-models {path} takes {shape}; a (1, 3, h, w) image was expected.")
        self._size_hw = tuple(side if isinstance(side, int) else INPUT_PX for side in shape[2:])
        self._names = [output.name for output in self._session.get_outputs()]
        self._is_yunet = {"cls_8", "obj_8", "bbox_8"} <= set(self._names)

    def boxes(self, image_srgb: ByteArray) -> FloatArray:  # (N, 4)
        """Return what is found in an (H, W, 3) picture: x0, y0, x1, y1 in pixels, doubles suppressed."""
        height, width = image_srgb.shape[:2]
        found = [self._boxes(image_srgb)]
        if max(height, width) > _TILED_FROM * max(self._size_hw):
            tall, wide = round(height * _TILE_SHARE), round(width * _TILE_SHARE)
            for top in (0, height - tall):
                for left in (0, width - wide):
                    part = self._boxes(image_srgb[top : top + tall, left : left + wide])
                    found.append(part + np.array([left, top, left, top, 0.0]))
        rows = np.concatenate(found)
        xywh = np.column_stack([rows[:, :2], rows[:, 2:4] - rows[:, :2]])
        kept = cv2.dnn.NMSBoxes(xywh.tolist(), rows[:, 4].tolist(), self._min_score, _DOUBLE_IOU)
        return np.asarray(rows[np.asarray(kept, dtype=np.int64).reshape(-1), :4])

    def _boxes(self, image_srgb: ByteArray) -> FloatArray:  # (N, 5)
        """Return boxes and scores above the least score, of a picture shrunk into the model's input."""
        tensor, scale = self._tensor(image_srgb)
        outputs = self._session.run(None, {self._input.name: tensor})
        values = dict(zip(self._names, (np.asarray(output, np.float64) for output in outputs), strict=True))
        rows = self._yunet_rows(values) if self._is_yunet else self._yolo_rows(values)
        rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 4] >= self._min_score)]
        rows[:, :4] /= scale
        return rows

    def _tensor(self, image_srgb: ByteArray) -> tuple[Float32Array, float]:
        """Return the picture in the top left of the input, and the scale."""
        height, width = self._size_hw
        scale = min(height / image_srgb.shape[0], width / image_srgb.shape[1])
        size = (max(1, round(image_srgb.shape[1] * scale)), max(1, round(image_srgb.shape[0] * scale)))
        filled = np.full((height, width, 3), 0 if self._is_yunet else _PADDING, np.uint8)
        filled[: size[1], : size[0]] = cv2.resize(image_srgb, size, interpolation=cv2.INTER_AREA)
        image = filled[..., ::-1] if self._is_yunet else filled / np.float32(255)
        return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32), scale

    def _yunet_rows(self, values: dict[str, FloatArray]) -> FloatArray:
        """Decode centres, sizes and scores of each stride's grid, as OpenCV's FaceDetectorYN does."""
        rows = []
        for stride in _YUNET_STRIDES:
            score = np.sqrt(
                np.clip(values[f"cls_{stride}"].reshape(-1), 0, 1)
                * np.clip(values[f"obj_{stride}"].reshape(-1), 0, 1)
            )
            box = values[f"bbox_{stride}"].reshape(-1, 4)
            columns = self._size_hw[1] // stride
            row, column = np.divmod(np.arange(len(score)), columns)
            centre = (np.column_stack([column, row]) + box[:, :2]) * stride
            half = np.exp(np.minimum(box[:, 2:], 20)) * stride / 2
            rows.append(np.column_stack([centre - half, centre + half, score]))
        return np.concatenate(rows)

    def _yolo_rows(self, values: dict[str, FloatArray]) -> FloatArray:
        table = values[self._names[0]]
        if len(self._names) != 1 or table.ndim != 3 or table.shape[0] != 1 or min(table.shape[1:]) < 5:
            shapes = {name: value.shape for name, value in values.items()}
            raise UsageError(
                f"--frames.blur-models {self._path} gives {shapes}; YuNet's outputs or one table, (1, N, 5 "
                "or more) or (1, 5 or more, N), was expected."
            )
        table = table[0]
        if table.shape[1] == 6 and table.shape[0] <= _MAX_BUILT_IN:
            return table[:, :5].copy()
        if table.shape[0] < table.shape[1]:  # version 8 and later: a row a number
            centre, half, score = table[:2].T, table[2:4].T / 2, table[4:].max(axis=0)
        else:
            centre, half = table[:, :2], table[:, 2:4] / 2
            score = table[:, 4] * (table[:, 5:].max(axis=1) if table.shape[1] > 5 else 1.0)
        return np.column_stack([centre - half, centre + half, score])


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "--frames.blur-models needs onnxruntime: pip install 'walkaround[masks]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same sums on every machine
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own, undocumented classes
        raise UsageError(f"--frames.blur-models {path} is not a readable ONNX model: {error}") from error
