"""How well a scene's pictures can be rendered from each other: what bad cameras spoil."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkaround.hdr.metrics.fidelity import psnr, ssim
from walkaround.radiance.options import SamplingOptions
from walkaround.radiance.views import ViewSet
from walkaround.types import ByteArray, Progress, no_progress

if TYPE_CHECKING:
    from walkaround.radiance.network import RadianceNetwork


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A picture that was rendered from the others."""

    name: str
    image_srgb: ByteArray  # (H, W, 3) rendered
    truth_srgb: ByteArray  # (H, W, 3) without lens distortion
    psnr_db: float
    ssim: float


def render_held_out(
    network: RadianceNetwork,
    views: ViewSet,
    number: int,
    *,
    options: SamplingOptions | None = None,
    progress: Progress = no_progress,
) -> HeldOut:
    """Render one picture of a scene from its others, and compare."""
    from walkaround.radiance.render import render_view

    rendered = render_view(
        network, views.without(number), views.target(number), options=options, progress=progress
    )
    return compared(views.names[number], rendered.image_srgb, views.images_srgb[number])


def compared(name: str, image_srgb: ByteArray, truth_srgb: ByteArray) -> HeldOut:
    """Return a picture with what it is measured by."""
    shown, wanted = image_srgb / 255.0, truth_srgb / 255.0
    return HeldOut(
        name=name,
        image_srgb=image_srgb,
        truth_srgb=truth_srgb,
        psnr_db=psnr(shown, wanted, 1.0),
        ssim=ssim(shown, wanted, 1.0),
    )


def rerender(
    network: RadianceNetwork,
    views: ViewSet,
    count: int,
    *,
    options: SamplingOptions | None = None,
    progress: Progress = no_progress,
) -> tuple[HeldOut, ...]:
    """Render ``count`` pictures, evenly over the scene, each from all others."""
    chosen = evenly(len(views), count)
    found = []
    for done, number in enumerate(chosen):
        found.append(render_held_out(network, views, number, options=options))
        progress((done + 1) / len(chosen))
    return tuple(found)


def rerender_scores(found: tuple[HeldOut, ...]) -> dict[str, float]:
    """Return a sequence's scores: ``rerender_psnr_db`` and ``rerender_ssim`` (medians), the worst."""
    values = [view.psnr_db for view in found]
    return {
        "rerender_psnr_db": float(np.median(values)),
        "rerender_worst_db": float(min(values)),
        "rerender_ssim": float(np.median([view.ssim for view in found])),
    }


def evenly(total: int, count: int) -> list[int]:
    """Return ``count`` different numbers below ``total``, evenly spread; all when there are fewer."""
    count = min(total, count)
    return [int((k + 0.5) * total / count) for k in range(count)]


def beside(*images_srgb: ByteArray) -> ByteArray:
    """Put pictures of one height side by side, two white columns between them."""
    gap = np.full((images_srgb[0].shape[0], 2, 3), 255, dtype=np.uint8)
    parts = [part for image in images_srgb for part in (gap, image)]
    return np.concatenate(parts[1:], axis=1)
