"""A learned segmentation model beside the geometry: any ONNX file with one image in, one map out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from walkaround.errors import InputError, UsageError
from walkaround.masks.models import MODELS, Recipe, prepare_model, recipe_of
from walkaround.types import ByteArray, Float32Array


def load_model(model: Path) -> OnnxModel:
    """Open a model by name (:data:`walkaround.masks.models.MODELS`) or path.

    Raises
    ------
    UsageError
        onnxruntime is not installed, or ``model`` is neither a file nor a known name.
    InputError
        The model cannot be downloaded, has the wrong hash, or is not of the form :class:`OnnxModel` takes.
    """
    path = prepare_model(model)
    known = MODELS.get(str(model))
    if known is None:
        return OnnxModel(path, recipe=recipe_of(path))
    return OnnxModel(path, recipe=known.recipe, input_px=known.input_px)


class OnnxModel:
    """U2-Net, IS-Net, BiRefNet and their kin: (1, 3, h, w) normalised RGB in, (1, 1, h, w) out.

    ``input_px`` is the side for a file that fixes none.

    Raises
    ------
    UsageError
        onnxruntime is not installed.
    InputError
        The file is missing or not a model of that form.
    """

    def __init__(self, path: Path, *, recipe: Recipe | None = None, input_px: int = 1024) -> None:
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
        self._size = tuple(n if isinstance(n, int) else input_px for n in shape[2:])
        self._recipe = recipe or Recipe()

    def fg_probability(self, image_srgb: ByteArray) -> Float32Array:
        """Return (H, W) foreground probability 0..1 for an (H, W, 3) RGB image."""
        recipe = self._recipe
        height, width = self._size
        small = cv2.resize(image_srgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        white = max(float(small.max()), 1.0) if recipe.divide_by_max else 255.0
        normal = (small / white - np.array(recipe.mean)) / np.array(recipe.std)
        tensor = normal.transpose(2, 0, 1)[None].astype(np.float32)
        out = np.squeeze(np.asarray(self._session.run(None, {self._input.name: tensor})[0]))
        if recipe.sigmoid or out.min() < 0 or out.max() > 1:  # logits
            out = 1.0 / (1.0 + np.exp(-np.clip(out, -60, 60)))
        if recipe.stretch and out.max() > out.min():
            out = (out - out.min()) / (out.max() - out.min())
        size = image_srgb.shape[1], image_srgb.shape[0]
        return np.asarray(cv2.resize(out.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))
