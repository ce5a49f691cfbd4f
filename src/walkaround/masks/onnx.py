"""A learned segmentation model beside the geometry: any ONNX file with one image in, one map out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import InputError, UsageError
from walkaround.types import ByteArray, Float32Array

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


class OnnxModel:
    """U2-Net, IS-Net, BiRefNet and their kin: (1, 3, h, w) normalised RGB in, (1, 1, h, w) out.

    Raises
    ------
    UsageError
        onnxruntime is not installed.
    InputError
        The file is missing or not a model of that form.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError("--masks.model needs onnxruntime: pip install 'walkaround[masks]'.") from error
        if not path.is_file():
            raise InputError(f"--masks.model {path} is not a file.")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own, undocumented classes
            raise InputError(f"{path} is not a readable ONNX model: {error}") from error
        self._input = self._session.get_inputs()[0]
        shape = self._input.shape
        if len(shape) != 4:
            raise InputError(f"{path} takes {shape}; a (1, 3, h, w) image was expected.")
        self._size = tuple(n if isinstance(n, int) else 1024 for n in shape[2:])

    def fg_probability(self, image_srgb: ByteArray) -> Float32Array:
        """Return (H, W) foreground probability 0..1 for an (H, W, 3) RGB image."""
        height, width = self._size
        small = cv2.resize(image_srgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        tensor = ((small - _MEAN) / _STD).transpose(2, 0, 1)[None].astype(np.float32)
        out = np.squeeze(np.asarray(self._session.run(None, {self._input.name: tensor})[0]))
        if out.min() < 0 or out.max() > 1:  # logits
            out = 1.0 / (1.0 + np.exp(-out))
        size = image_srgb.shape[1], image_srgb.shape[0]
        return np.asarray(cv2.resize(out.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))
