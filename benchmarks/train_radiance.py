"""Train the network of `walkaround render` on a dataset; a run that was cut off goes on.

    walkaround simulate-dataset OBJECTS --classes 26 --instances 8 --views 24 --size 192 --clutter 0.5 \
        --jitter-deg 12 --elevation-deg 5 70 --seed 23
    python benchmarks/train_radiance.py OBJECTS --out RUN [--steps 16000] [--rays 384] [--threads 1]

trains on the objects that the dataset's splits do not keep for the test and leaves RUN/radiance.safetensors.
Any dataset that the readers open will do; without splits, all of its objects are trained on.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import torch

from walkaround.dataset.readers import Dataset
from walkaround.radiance.network import RadianceNetwork, num_parameters
from walkaround.radiance.training import TrainingOptions, batch_loss, draw_batch, rate_share
from walkaround.radiance.views import ViewSet, load_views
from walkaround.radiance.weights import write_weights
from walkaround.studies.frame import Job, fit, pick_device, rng_of, seeded
from walkaround.threads import keep_freed_memory
from walkaround.types import no_progress

logger = logging.getLogger("train_radiance")
_REPORT_EVERY = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    for name, value in (("steps", 16_000), ("rays", 384), ("size", 192), ("threads", 1), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    scenes = load_training(given.dataset, given.size)
    job = Job(
        arm="radiance", seed=given.seed, data_dir=given.dataset, folder=given.out,
        device=pick_device(given.device), checkpoint_every=200, progress=no_progress,
    )  # fmt: skip
    train(job, scenes, given.steps, TrainingOptions(rays=given.rays))


def load_training(root: Path, size: int) -> list[ViewSet]:
    dataset = Dataset(root)
    held_out: set[str] = set()
    if (root / "splits" / "test.json").is_file():
        held_out = set(json.loads((root / "splits" / "test.json").read_text()))
    scenes = [load_views(scene, size) for scene in dataset if scene.key not in held_out]
    logger.info("%d objects, %d are held out", len(scenes), len(held_out))
    return scenes


def train(job: Job, scenes: list[ViewSet], steps: int, options: TrainingOptions) -> None:
    with seeded(job.seed):
        network = RadianceNetwork().to(job.device)
    logger.info("%d parameters on %s", num_parameters(network), job.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.rate)
    recent: list[float] = []

    def step(number: int) -> float:
        rng = rng_of(job.seed, "batch", number)
        for group in optimizer.param_groups:
            group["lr"] = options.rate * rate_share(number, steps)
        loss, psnr_db = batch_loss(network, draw_batch(scenes, options, rng), options, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        recent.append(psnr_db)
        if (number + 1) % _REPORT_EVERY == 0:
            logger.info(
                "step %d: %.2f dB, %.0f CPU-s",
                number + 1,
                np.mean(recent[-_REPORT_EVERY:]),
                time.process_time(),
            )
        return float(loss.detach())

    fit(job, {"network": network, "optimizer": optimizer}, step, num_steps=steps)
    facts = {
        "steps": str(steps),
        "rays": str(options.rays),
        "objects": str(len(scenes)),
        "seed": str(job.seed),
    }
    write_weights(job.folder / "radiance.safetensors", network.state_dict(), network.options, facts)


if __name__ == "__main__":
    main()
