"""One picture, one task: what a user's words mean, and which method does it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import torch

from walkaround.errors import UsageError
from walkaround.restore.classical import estimate_sigma
from walkaround.restore.deblur import deblur_by_pairs, estimate_kernel
from walkaround.restore.dejpeg import dejpeg_by_pairs
from walkaround.restore.denoise import denoise_by_pairs
from walkaround.restore.holes import drawn_by_patches, drawn_by_prior, fill_holes, large_holes
from walkaround.restore.inpaint import check_known, inpaint_by_pairs
from walkaround.restore.jpeg import JpegTables, read_tables, tables_of_quality
from walkaround.restore.kernels import parse_kernel, unknown_side
from walkaround.restore.missing import known_pixels
from walkaround.restore.operators import Convolution, Downsample, Identity, Mask, Operator
from walkaround.restore.options import RestoreOptions, Task
from walkaround.restore.picture import Picture, read_picture
from walkaround.restore.prior_tiles import solve_in_tiles
from walkaround.restore.progress import Listen, Told, unheard
from walkaround.restore.solver import Step
from walkaround.restore.spectrum import estimate_blur, gaussian_of
from walkaround.restore.tensors import to_array, to_tensor
from walkaround.restore.upscale import LOBES, upscale_by_pairs
from walkaround.types import Float32Array

logger = logging.getLogger(__name__)

LEAST_PX = 16
"""Smaller pictures are continued to this size and cut back."""
_LEAST_MEASURED_PX = 8


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What came of it; ``facts`` go into the record: what was measured or chosen."""

    image: Float32Array  # (H, W, C) 0..1
    facts: dict[str, float | str] = field(default_factory=dict)


def restore_picture(
    picture: Picture,
    task: Task,
    *,
    options: RestoreOptions,
    data: bytes = b"",
    name: str = "the picture",
    listen: Listen = unheard,
) -> Restored:
    """Restore one picture.

    Parameters
    ----------
    data
        The bytes of its file, for the tables of a JPEG.
    name
        For messages.

    Raises
    ------
    UsageError
        An option is wrong or lacking for this task and picture.
    InputError
        The mask or kernel cannot be read; the file is no JPEG and no quality was given.
    """
    options.check()
    check_device(options.device)
    image, size = _continued(picture.image), picture.image.shape[:2]
    scale = options.factor if task == "upscale" else 1
    if task == "denoise":
        restored = _denoise(image, picture, options, name, listen)
    elif task == "inpaint":
        restored = _inpaint(image, picture, options, name, listen)
    elif task == "upscale":
        restored = _upscale(image, options, listen)
    elif task == "deblur":
        restored = _deblur(image, picture, options, name, listen)
    else:
        restored = _dejpeg(image, _tables(data, options, name), options, listen)
    if not np.isfinite(restored.image).all():
        raise UsageError(f"{name}: the network's numbers grew without bound. Lower the learning rate.")
    cut = np.ascontiguousarray(restored.image[: size[0] * scale, : size[1] * scale])
    return Restored(image=cut, facts=restored.facts)


def check_device(device: str) -> None:
    """Try a device before work begins.

    Raises
    ------
    UsageError
        torch does not know it, or it is not there.
    """
    try:
        float(torch.zeros(1, device=device))  # "meta" is known, and computes nothing
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device} cannot be used ({reason}). Use cpu.") from error


def _continued(image: Float32Array) -> Float32Array:
    lacking = [max(0, LEAST_PX - size) for size in image.shape[:2]]
    return np.pad(image, [(0, lacking[0]), (0, lacking[1]), (0, 0)], mode="edge")


def _prior(
    image: Float32Array, operator: Operator, size_hw: tuple[int, int], task: Task, options: RestoreOptions,
    noise: float | None, listen: Listen,
) -> Restored:  # fmt: skip
    """Let the prior draw; see :func:`solve_prior` for ``noise``."""

    def watch(step: Step) -> None:
        listen(
            Told(
                iteration=step.iteration,
                share=step.share,
                loss=step.loss,
                picture=lambda: to_array(step.picture()),
            )
        )

    solved = solve_in_tiles(
        to_tensor(image), operator, size_hw, options=options.prior, task=task, seed=options.seed,
        device=options.device, noise=noise, watch=watch,
    )  # fmt: skip
    facts: dict[str, float | str] = {
        "iterations": solved.iterations,
        "best_iteration": solved.best_iteration,
        "rollbacks": solved.rollbacks,
    }
    return Restored(image=to_array(solved.picture), facts=facts)


def _sigma(image: Float32Array, options: RestoreOptions, name: str) -> float:
    """Return the deviation of 0..1 that was given, or measure it on a picture that was not continued."""
    if options.sigma is not None:
        return options.sigma / 255
    if min(image.shape[:2]) < _LEAST_MEASURED_PX:
        size = f"{image.shape[1]} x {image.shape[0]} px"
        raise UsageError(
            f"{name} has {size}, too small to measure its noise: {_LEAST_MEASURED_PX} a side are needed. "
            "Give --sigma."
        )
    return estimate_sigma(image)


def _denoise(
    image: Float32Array, picture: Picture, options: RestoreOptions, name: str, listen: Listen
) -> Restored:
    sigma = _sigma(picture.image, options, name)
    if sigma == 0 and options.guide is None:
        return Restored(image=image, facts={"sigma": 0.0})
    if options.method == "prior":
        return _prior(image, Identity(), _size(image), "denoise", options, sigma, listen)
    guide = None if options.guide is None else _continued(read_picture(options.guide).image)
    done = denoise_by_pairs(
        image, sigma, options=options.pairs, seed=options.seed, device=options.device, guide=guide,
        listen=listen,
    )  # fmt: skip
    return Restored(image=done, facts={"sigma": round(sigma * 255, 3)})


def _inpaint(
    image: Float32Array, picture: Picture, options: RestoreOptions, name: str, listen: Listen
) -> Restored:
    known = known_pixels(picture, options.mask, name)
    padding = [(0, large - small) for large, small in zip(image.shape, known.shape, strict=False)]
    known = np.pad(known, padding, mode="edge")
    check_known(known)
    facts: dict[str, float | str] = {"missing_share": round(float((~known).mean()), 5)}
    holes = large_holes(known)
    facts["large_hole_share"] = round(float(holes.mean()), 5)
    seed, device, scattered = options.seed, options.device, (~known & ~holes).any()
    if options.method == "prior":
        if scattered:
            masked = np.where(known[..., None], image, 0).astype(np.float32)
            mask = Mask(to_tensor(known[..., None].astype(np.float32)))
            solved = _prior(masked, mask, _size(image), "inpaint", options, 0.0, listen)
            return Restored(
                image=np.where(known[..., None], image, solved.image), facts={**facts, **solved.facts}
            )
        draw = drawn_by_prior(options=options.prior, seed=seed, device=device)
    else:
        draw = drawn_by_patches(seed=seed)
    if scattered:
        image = inpaint_by_pairs(image, known, options=options.pairs, seed=seed, device=device, listen=listen)
    return Restored(image=fill_holes(image, ~holes, draw, listen=listen), facts=facts)


def _upscale(image: Float32Array, options: RestoreOptions, listen: Listen) -> Restored:
    factor = options.factor
    if options.method == "prior":
        size = (image.shape[0] * factor, image.shape[1] * factor)
        return _prior(image, Downsample(factor, lobes=LOBES), size, "upscale", options, 0.0, listen)
    done = upscale_by_pairs(
        image, factor, options=options.pairs, seed=options.seed, device=options.device, listen=listen
    )
    return Restored(image=done)


def _deblur(
    image: Float32Array, picture: Picture, options: RestoreOptions, name: str, listen: Listen
) -> Restored:
    sigma, side = _sigma(picture.image, options, name), unknown_side(options.kernel)
    if side is not None and options.method == "pairs":
        kernel = gaussian_of(estimate_blur(image), side)
    elif side is not None:
        kernel = estimate_kernel(
            image, side, sigma, options=options.prior, seed=options.seed, device=options.device
        )
    else:
        kernel = parse_kernel(options.kernel)
    if options.method == "prior":
        operator = Convolution(torch.from_numpy(kernel))
        return _prior(image, operator, _size(image), "deblur", options, sigma, listen)
    done = deblur_by_pairs(
        image, kernel, sigma, options=options.pairs, seed=options.seed, device=options.device, listen=listen
    )
    return Restored(image=done, facts={"sigma": round(sigma * 255, 3)})


def _tables(data: bytes, options: RestoreOptions, name: str) -> JpegTables:
    return tables_of_quality(options.quality) if options.quality else read_tables(data, name)


def _dejpeg(image: Float32Array, tables: JpegTables, options: RestoreOptions, listen: Listen) -> Restored:
    facts: dict[str, float | str] = {"step": float(tables.luminance[0, 1])}
    if options.method == "prior":
        solved = _prior(image, Identity(), _size(image), "dejpeg", options, None, listen)
        return Restored(image=solved.image, facts={**facts, **solved.facts})
    done = dejpeg_by_pairs(
        image, tables, options=options.pairs, seed=options.seed, device=options.device, listen=listen
    )
    return Restored(image=done, facts=facts)


def _size(image: Float32Array) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
