"""PSNR and SSIM of held-out views, pictures beside the truth, a film."""

from __future__ import annotations

import numpy as np

from walkaround.io.image import write_jpeg
from walkaround.io.video_write import write_mp4
from walkaround.radiance.network import RadianceNetwork
from walkaround.radiance.options import SamplingOptions
from walkaround.radiance.path import camera_path
from walkaround.radiance.render import render_view
from walkaround.radiance.score import HeldOut, beside, evenly, render_held_out, rerender
from walkaround.radiance.views import ViewSet
from walkaround.studies.frame import Job, load_result
from walkaround.studies.radiance.prepare import CAPTURES, TEST, read_objects
from walkaround.studies.radiance.recipe import SOURCES, RadianceRecipe
from walkaround.studies.radiance.training import TUNED, UNTUNED, fresh_network
from walkaround.types import ByteArray

_MAIN = 4
_PICTURES = 6
"""Rows of pictures.jpg."""


def measure_arm(recipe: RadianceRecipe, job: Job) -> dict[str, float]:
    """Render the test objects' held-out views; leave ``pictures.jpg`` and a film in the job's folder.

    Returns
    -------
    dict
        ``psnr_<views>`` and ``ssim_<views>``, means over the held-out views; with the ending ``_untuned``
        before any training on the target; ``psnr_<id>`` of captures.
    """
    objects = read_objects(job.data_dir, TEST)
    found: dict[str, float] = {}
    network = _network(job, UNTUNED)
    before = _held_out(network, objects, recipe, _MAIN)
    found |= _means(before, _MAIN, "_untuned")
    network = _network(job, TUNED)
    for count in SOURCES:
        views = _held_out(network, objects, recipe, count)
        found |= _means(views, count, "")
        if count == _MAIN:
            _write_pictures(job, before, views)
    captures = zip(recipe.captures, read_objects(job.data_dir, CAPTURES), strict=True)
    for path, capture in captures:
        shown = rerender(network, capture, recipe.test_views, options=_sampling(recipe, max(SOURCES)))
        found[f"psnr_{path.resolve().name}"] = float(np.mean([view.psnr_db for view in shown]))
    if recipe.orbit_frames and job.arm == "pre-many" and job.seed == recipe.seeds[0]:
        _write_film(recipe, job, network, objects[0])
    return found


def _network(job: Job, name: str) -> RadianceNetwork:
    network = fresh_network(job)
    network.load_state_dict(load_result(job.folder / name, job.device))
    return network.eval()


def _sampling(recipe: RadianceRecipe, sources: int) -> SamplingOptions:
    return SamplingOptions(
        sources=sources, coarse=recipe.coarse, fine=recipe.fine, use_depth=False, coarse_step_px=2
    )


def _held_out(
    network: RadianceNetwork, objects: list[ViewSet], recipe: RadianceRecipe, sources: int
) -> list[HeldOut]:
    options = _sampling(recipe, sources)
    return [
        render_held_out(network, views, number, options=options)
        for views in objects
        for number in evenly(len(views), recipe.test_views)
    ]


def _means(views: list[HeldOut], sources: int, ending: str) -> dict[str, float]:
    return {
        f"psnr_{sources}{ending}": float(np.mean([view.psnr_db for view in views])),
        f"ssim_{sources}{ending}": float(np.mean([view.ssim for view in views])),
    }


def _write_pictures(job: Job, before: list[HeldOut], after: list[HeldOut]) -> None:
    """Write rows of truth, before and after training on the target."""
    step = max(1, len(after) // _PICTURES)
    rows: list[ByteArray] = [
        beside(late.truth_srgb, early.image_srgb, late.image_srgb)
        for early, late in list(zip(before, after, strict=True))[::step]
    ]
    width = min(row.shape[1] for row in rows)
    write_jpeg(job.folder / "pictures.jpg", np.concatenate([row[:, :width] for row in rows]))


def _write_film(recipe: RadianceRecipe, job: Job, network: RadianceNetwork, views: ViewSet) -> None:
    options = _sampling(recipe, max(SOURCES))
    targets = camera_path(views, "orbit", recipe.orbit_frames)
    images = (render_view(network, views, target, options=options).image_srgb for target in targets)
    write_mp4(job.folder / "orbit.mp4", images, frame_rate=10.0)
