"""Held-out views from splats fitted to the other pictures, beside the network of `walkaround render`.

    python benchmarks/splat.py SEQUENCE ... [--views 4] [--size 256] [--steps 2000 ...] [--object-only]
        [--degree 1] [--most 30000] [--pictures FOLDER] [--threads 1]

Pictures held out are those of benchmarks/render.py with the same --views; all of them are left out of a fit.
The network renders each from all others, so also from the other held-out ones. A row a number of steps: PSNR
(mean, range) and SSIM, Gaussians, CPU seconds of the fit, milliseconds of CPU a drawn picture.
With --object-only, truth and pictures are black outside the masks (the network is not run).
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch

from walkaround.commands.render import open_sequence, write_picture
from walkaround.radiance.score import HeldOut, beside, compared, evenly, render_held_out
from walkaround.radiance.views import load_views, object_mask
from walkaround.radiance.weights import read_weights
from walkaround.splats.fit import fit_splats, picture_of
from walkaround.splats.options import SplatOptions
from walkaround.splats.start import first_gaussians
from walkaround.threads import keep_freed_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sequences", type=Path, nargs="+")
    for name, value in (("views", 4), ("size", 256), ("degree", 1), ("most", 30_000), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--steps", type=int, nargs="+", default=[2000])
    parser.add_argument("--object-only", action="store_true")
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    print("sequence, method, PSNR dB, SSIM, Gaussians, CPU s, CPU ms a picture")
    for folder in given.sequences:
        measure(folder, given)


def measure(folder: Path, given: argparse.Namespace) -> None:
    scene = open_sequence(folder)
    views = load_views(scene, given.size)
    held = evenly(len(views), given.views)
    rows = np.setdiff1d(np.arange(len(views)), held)
    masks = None
    if given.object_only:
        masks = np.stack([object_mask(views, scene, number) for number in range(len(views))])
        views = dataclasses.replace(views, images_srgb=views.images_srgb * masks[..., None])
    else:
        network, _ = read_weights()
        began = time.process_time()
        found = [render_held_out(network, views, number) for number in held]
        spent = (time.process_time() - began) / len(held)
        print(f"{folder.name}, network, {summary(found)}, none, 0, {1000 * spent:.0f}", flush=True)
    points = scene.read_sparse().points_in_world
    for steps in given.steps:
        options = SplatOptions(
            steps=steps, most=given.most, degree=given.degree, object_only=given.object_only
        )
        began = time.process_time()
        fitted, fitted_masks = views.part(rows), None if masks is None else masks[rows]
        first = first_gaussians(
            fitted, points, fitted_masks, most=options.most, degree=options.degree,
            rng=np.random.default_rng(0),
        )  # fmt: skip
        splats = fit_splats(fitted, first, options, masks=fitted_masks, num_threads=given.threads)
        spent, began = time.process_time() - began, time.process_time()
        images = [picture_of(splats, views.target(number), num_threads=given.threads) for number in held]
        drawn_ms = 1000 * (time.process_time() - began) / len(held)
        found = [
            compared(views.names[number], image, views.images_srgb[number])
            for number, image in zip(held, images, strict=True)
        ]
        said = f"{summary(found)}, {len(splats)}, {spent:.0f}, {drawn_ms:.0f}"
        print(f"{folder.name}, splats {steps} steps, {said}", flush=True)
        if given.pictures is not None:
            for view in found:
                name = f"{folder.name}-{steps}-{Path(view.name).stem}.png"
                write_picture(given.pictures / name, beside(view.truth_srgb, view.image_srgb))


def summary(found: list[HeldOut]) -> str:
    values = [view.psnr_db for view in found]
    ssim = np.mean([view.ssim for view in found])
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f}), {ssim:.3f}"


if __name__ == "__main__":
    main()
