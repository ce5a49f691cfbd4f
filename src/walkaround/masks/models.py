"""Learned mask models by name: where each is published, what it must hash to, how it wants its input.

One small model comes with walkaround (:data:`SHIPPED`). Any other is downloaded on first use, checked against
its SHA-256 and kept in a cache folder; a file put there by hand is checked in the same way.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from walkaround.errors import InputError, UsageError
from walkaround.io.atomic import atomic_path
from walkaround.io.cache import cache_folder

logger = logging.getLogger(__name__)

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_REMBG = "https://github.com/danielgatis/rembg/releases/download/v0.0.0/"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a model does to an image before and after the network."""

    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    divide_by_max: bool = False
    """Divide the image by its own maximum instead of 255 before mean and std."""
    sigmoid: bool = False
    """The output is a logit."""
    stretch: bool = False
    """The output is stretched to 0..1, as the authors do."""


@dataclass(frozen=True, kw_only=True)
class MaskModel:
    """One published model."""

    file: str
    """Name in the cache folder."""
    url: str
    sha256: str
    size_bytes: int
    licence: str
    """Of the weights, as their authors state it; the data they were trained on have terms of their own."""
    source: str
    """Where the authors publish code, weights and licence."""
    input_px: int
    """Side of the square the image is brought to, unless the file fixes another size."""
    recipe: Recipe


_U2NET = Recipe(divide_by_max=True, stretch=True)
_BIREFNET = Recipe(sigmoid=True)

MODELS: dict[str, MaskModel] = {
    "u2net": MaskModel(
        file="u2net.onnx",
        url=_REMBG + "u2net.onnx",
        sha256="8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
        size_bytes=175_997_641,
        licence="Apache-2.0",
        source="https://github.com/xuebinqin/U-2-Net",
        input_px=320,
        recipe=_U2NET,
    ),
    "u2netp": MaskModel(
        file="u2netp.onnx",
        url=_REMBG + "u2netp.onnx",
        sha256="309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        size_bytes=4_574_861,
        licence="Apache-2.0",
        source="https://github.com/xuebinqin/U-2-Net",
        input_px=320,
        recipe=_U2NET,
    ),
    "isnet": MaskModel(
        file="isnet-general-use.onnx",
        url=_REMBG + "isnet-general-use.onnx",
        sha256="60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
        size_bytes=178_648_008,
        licence="Apache-2.0",
        source="https://github.com/xuebinqin/DIS",
        input_px=1024,
        recipe=Recipe(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0), stretch=True),
    ),
    "birefnet": MaskModel(
        file="BiRefNet-general-epoch_244.onnx",
        url=_REMBG + "BiRefNet-general-epoch_244.onnx",
        sha256="58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c",
        size_bytes=972_666_916,
        licence="MIT",
        source="https://github.com/ZhengPeng7/BiRefNet",
        input_px=1024,
        recipe=_BIREFNET,
    ),
    "birefnet-lite": MaskModel(
        file="BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
        url=_REMBG + "BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
        sha256="5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333",
        size_bytes=224_005_088,
        licence="MIT",
        source="https://github.com/ZhengPeng7/BiRefNet",
        input_px=1024,
        recipe=_BIREFNET,
    ),
}
"""Name -> model. The files are the ONNX exports that rembg publishes. Each SHA-256 was taken from several
public projects that pin the same file; rembg itself pins their MD5."""


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A model that comes with walkaround."""

    path: Path
    sha256: str
    licence: str
    input_px: int
    recipe: Recipe


SHIPPED: dict[str, Shipped] = {
    "saliency": Shipped(
        path=Path(__file__).parent / "weights" / "saliency.onnx",
        sha256="50eb2f2cac37525605fec0ea734cd53685d14fd039199b782f96299f59dc3651",
        licence="Apache-2.0",
        input_px=128,
        recipe=Recipe(),
    ),
}
"""Name -> model; run by OpenCV, so that nothing needs to be installed or downloaded."""


def known_sha256(model: Path) -> str | None:
    """Return the hash of a model that is given by name; None of any other."""
    known = MODELS.get(str(model)) or SHIPPED.get(str(model))
    return None if known is None else known.sha256


def check_model(model: Path) -> None:
    """Check, without reading or downloading anything, that ``model`` is a known name or a file.

    Raises
    ------
    UsageError
        It is neither.
    """
    if known_sha256(model) is None and not model.is_file():
        raise UsageError(
            f"The mask model {model} is neither a file nor a known name. Give the path of an ONNX file,"
            f" or one of {', '.join([*SHIPPED, *MODELS])}."
        )


def prepare_model(model: Path) -> Path:
    """Return the model's file; one given by name is downloaded when it is not in the cache.

    Raises
    ------
    UsageError
        onnxruntime is missing and needed, or ``model`` is neither a file nor a known name.
    InputError
        The model cannot be downloaded, or its file has the wrong hash.
    """
    check_model(model)
    if str(model) in SHIPPED:
        return SHIPPED[str(model)].path
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UsageError("A mask model needs onnxruntime: pip install 'walkaround[masks]'.") from error
    return fetch(MODELS[str(model)], cache_folder()) if str(model) in MODELS else model


def recipe_of(path: Path) -> Recipe:
    """Return how to use a model's file: that of the known model with the same bytes, or the usual one."""
    digest = sha256_of(path)
    return next((model.recipe for model in MODELS.values() if model.sha256 == digest), Recipe())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(model: MaskModel, folder: Path) -> Path:
    """Return the model's file in ``folder``, downloaded when it is not there, with its hash checked.

    Raises
    ------
    InputError
        No network, a download cut off, or another hash (that file is removed).
    OutputError
        The cache folder cannot be written.
    """
    path = folder / model.file
    if not path.is_file():
        with atomic_path(path) as temporary:
            digest = _download(model, temporary, path)
            _check(model, digest, model.url)
    elif (digest := sha256_of(path)) != model.sha256:
        path.unlink()
        _check(model, digest, str(path))
    return path


def _check(model: MaskModel, digest: str, origin: str) -> None:
    if digest != model.sha256:
        raise InputError(
            f"{origin} is not the file that was expected: its SHA-256 is {digest}, not {model.sha256}. It was"
            " removed; run again to download it, or use another model."
        )


def _download(model: MaskModel, temporary: Path, path: Path) -> str:
    """Write the model's bytes to ``temporary`` and return their SHA-256."""
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    logger.info("downloading %s (%.0f MB, %s)", model.url, model.size_bytes / 1e6, model.licence)
    by_hand = (
        f"Download it by hand and save it as {path}; its SHA-256 must be {model.sha256}. Or use no"
        " model: nothing here needs one."
    )
    try:
        with urllib.request.urlopen(model.url, timeout=30) as response:
            digest, size = _copy(response, temporary, model.size_bytes)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        ssl.SSLError,
        TimeoutError,
        ConnectionError,
    ) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it is the response, too
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{model.url} cannot be downloaded ({reason}). {by_hand}") from error
    if size < model.size_bytes:
        raise InputError(
            f"The download of {model.url} was cut off after {size} of {model.size_bytes} bytes; run again."
            f" {by_hand}"
        )
    return digest


def _copy(response: BinaryIO, temporary: Path, expected: int) -> tuple[str, int]:
    """Copy to the file, logging each quarter; stop when there is more than ``expected``."""
    digest, size, told = hashlib.sha256(), 0, 0
    with temporary.open("wb") as file:
        while size <= expected and (block := response.read(1 << 20)):
            file.write(block)
            digest.update(block)
            size += len(block)
            if 4 * size // expected > told:
                told = 4 * size // expected
                logger.info("  %.0f of %.0f MB", size / 1e6, expected / 1e6)
    return digest.hexdigest(), size
