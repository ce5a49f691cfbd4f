"""How near held-out views of sequences are to the truth when `walkaround render` makes them from the others.

    python benchmarks/render.py SEQUENCE ... [--views 8] [--size 256] [--sources 4] [--no-depth]
        [--disturb-deg 0 0.5 2] [--weights FILE] [--lpips FILE] [--pictures FOLDER] [--threads 1]

A row a held-out view and the mean: PSNR, SSIM, LPIPS, CPU seconds. --disturb-deg turns each camera about a
random axis through its place by so much (the same axes at each angle): what a score of the cameras should
notice. --lpips is a TorchScript file of the metric, with its weights, that takes two pictures (1, 3, H, W) of
-1..1; none comes with this package. --pictures keeps truth and render side by side.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from walkaround.commands.render import open_sequence, write_picture
from walkaround.radiance.options import SamplingOptions
from walkaround.radiance.score import HeldOut, beside, evenly, render_held_out
from walkaround.radiance.views import ViewSet, load_views
from walkaround.radiance.weights import SHIPPED, read_weights
from walkaround.threads import keep_freed_memory

Metric = Callable[[HeldOut], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sequences", type=Path, nargs="+")
    for name, value in (("views", 8), ("size", 256), ("sources", 4), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--disturb-deg", type=float, nargs="+", default=[0.0])
    parser.add_argument("--no-depth", action="store_true")
    for name in ("weights", "lpips", "pictures"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    network, facts = read_weights(given.weights or SHIPPED)
    options = SamplingOptions(sources=given.sources, use_depth=not given.no_depth)
    lpips = make_lpips(given.lpips)
    print(f"weights: {facts}\nsequence, view, disturbed deg, PSNR dB, SSIM, LPIPS, CPU s")
    for folder in given.sequences:
        views = load_views(open_sequence(folder), given.size)
        for angle_deg in given.disturb_deg:
            rows = []
            for number in evenly(len(views), given.views):
                began = time.process_time()
                found = render_held_out(network, disturbed(views, angle_deg), number, options=options)
                spent = time.process_time() - began
                rows.append(found)
                said = "not run" if lpips is None else f"{lpips(found):.4f}"
                measured = f"{found.psnr_db:.2f}, {found.ssim:.3f}, {said}, {spent:.1f}"
                print(f"{folder.name}, {found.name}, {angle_deg:g}, {measured}", flush=True)
                if given.pictures is not None:
                    name = f"{folder.name}-{Path(found.name).stem}-{angle_deg:g}.png"
                    write_picture(given.pictures / name, beside(found.truth_srgb, found.image_srgb))
            values = np.array([(row.psnr_db, row.ssim) for row in rows])
            (psnr, ssim), (low, _), (high, _) = values.mean(0), values.min(0), values.max(0)
            spread = f"{psnr:.2f} ({low:.2f} to {high:.2f}), {ssim:.3f}"
            print(f"{folder.name}, mean of {len(rows)}, {angle_deg:g}, {spread}", flush=True)
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def disturbed(views: ViewSet, angle_deg: float) -> ViewSet:
    """Turn each camera about a random axis through its place."""
    axes = np.random.default_rng(0).normal(size=(len(views), 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    poses = views.cam_from_world.copy()
    turns = Rotation.from_rotvec(np.radians(angle_deg) * axes).as_matrix()
    poses[:, :3] = turns @ poses[:, :3]
    return dataclasses.replace(views, cam_from_world=poses)


def make_lpips(path: Path | None) -> Metric | None:
    if path is None:
        return None
    metric = torch.jit.load(str(path)).eval()

    def measure(found: HeldOut) -> float:
        pair = (torch.from_numpy(image / 127.5 - 1).float() for image in (found.image_srgb, found.truth_srgb))
        with torch.inference_mode():
            return float(metric(*(image.permute(2, 0, 1)[None] for image in pair)))

    return measure


if __name__ == "__main__":
    main()
