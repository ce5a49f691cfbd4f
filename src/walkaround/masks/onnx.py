"""A learned segmentation model beside the geometry: any ONNX file with one image in, one map out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from walkaround.errors import UsageError
from walkaround.masks.models import MODELS, SHIPPED, Recipe, prepare_model, recipe_of
from walkaround.masks.shipped import ShippedModel
from walkaround.types import ByteArray, Float32Array


class LearnedModel(Protocol):
    """What segments a single image."""

    def fg_probability(self, image_srgb: ByteArray) -> Float32Array:
        """Return (H, W) foreground probability 0..1 for an (H, W, 3) RGB image."""


def load_model(model: Path) -> LearnedModel:
    """Open a model by name (:mod:`walkaround.masks.models`) or path.

    Raises
    ------
    UsageError
        onnxruntime is needed and not installed, ``model`` is neither a file nor a known name, or it is not of
        the form that :class:`OnnxModel` takes.
    InputError
        The model cannot be downloaded, or has the wrong hash.
    """
    path = prepare_model(model)
    if str(model) in SHIPPED:
        return ShippedModel(str(model))
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
        onnxruntime is not installed, or the file is missing or not a model of that form.
    """

    def __init__(self, path: Path, *, recipe: Recipe | None = None, input_px: int = 1024) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UsageError("--masks.model needs onnxruntime: pip install 'walkaround[masks]'.") from error
        if not path.is_file():
            raise UsageError(f"The mask model {path} is not a file.")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own, undocumented classes
            raise UsageError(f"{path} is not a readable ONNX model: {error}") from error
        self._path = path
        inputs, output = self._session.get_inputs(), self._session.get_outputs()[0].shape
        self._input = inputs[0]
        shape = self._input.shape
        if len(inputs) != 1 or len(shape) != 4 or not _may_be(shape[:2], (1, 3)):
            raise UsageError(
                f"The mask model {path} takes {[each.shape for each in inputs]}; one (1, 3, h, w) image was"
                " expected."
            )
        if output and (len(output) not in (3, 4) or not _may_be(output[:-2], (1, 1)[: len(output) - 2])):
            raise UsageError(f"The mask model {path} gives {output}; a (1, 1, h, w) map was expected.")
        self._size = tuple(n if isinstance(n, int) else input_px for n in shape[2:])
        self._recipe = recipe or Recipe()

    def fg_probability(self, image_srgb: ByteArray) -> Float32Array:
        """Return (H, W) foreground probability 0..1 for an (H, W, 3) RGB image.

        Raises
        ------
        UsageError
            The model cannot be run, or gives no map of finite numbers.
        """
        recipe = self._recipe
        height, width = self._size
        small = cv2.resize(image_srgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        white = max(float(small.max()), 1.0) if recipe.divide_by_max else 255.0
        normal = (small / white - np.array(recipe.mean)) / np.array(recipe.std)
        tensor = normal.transpose(2, 0, 1)[None].astype(np.float32)
        try:
            out = np.squeeze(np.asarray(self._session.run(None, {self._input.name: tensor})[0]))
        except Exception as error:  # onnxruntime raises its own, undocumented classes
            raise UsageError(f"The mask model {self._path} cannot be run: {error}") from error
        if out.ndim != 2 or not np.isfinite(out).all():
            what = f"an array {out.shape}" if out.ndim != 2 else "numbers that are not finite"
            raise UsageError(f"The mask model {self._path} gives {what}; a (1, 1, h, w) map was expected.")
        if recipe.sigmoid or out.min() < 0 or out.max() > 1:  # logits
            out = 1.0 / (1.0 + np.exp(-np.clip(out, -60, 60)))
        if recipe.stretch and out.max() > out.min():
            out = (out - out.min()) / (out.max() - out.min())
        size = image_srgb.shape[1], image_srgb.shape[0]
        return np.asarray(cv2.resize(out.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))


def _may_be(shape: Sequence[object], expected: tuple[int, ...]) -> bool:
    """True when the known numbers of a shape are the expected ones; names and None stand for any."""
    pairs = zip(shape, expected, strict=True)
    return all(not isinstance(found, int) or found == wanted for found, wanted in pairs)
