"""Results beside the clean picture: PSNR of what the file shows, at the end and while it is made."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walkaround.errors import UsageError
from walkaround.io.image import read_file
from walkaround.restore.measure import psnr_db
from walkaround.restore.options import RestoreOptions, Task
from walkaround.restore.picture import Picture, decode_picture
from walkaround.restore.progress import Told
from walkaround.types import Float32Array

_LOG_STEP = 0.05


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A clean picture."""

    image: Float32Array  # (H, W, C) 0..1
    sha256: str
    """Of its file."""


class Log:
    """A line of share, iteration and loss for every twentieth of the work; with truth also PSNR.

    Attributes
    ----------
    lines
        For the record.
    seconds, cpu_seconds
        What drawing the pictures to compare took: it is not the method's.
    """

    def __init__(self, clean: Float32Array | None) -> None:
        self.lines: list[dict[str, float]] = []
        self.seconds = self.cpu_seconds = 0.0
        self._clean = clean

    def add(self, told: Told) -> None:
        """Take a line when one is due."""
        before = self.lines[-1]["share"] if self.lines else -1.0
        if before <= told.share < before + _LOG_STEP and told.share != 1:
            return  # a lower share is of a second network: large holes come after small ones
        line = {"share": round(told.share, 4), "iteration": told.iteration, "loss": told.loss}
        if self._clean is not None:
            wall, cpu = time.perf_counter(), time.process_time()
            image = told.picture()
            if image.shape == self._clean.shape:  # not while a picture is enlarged by its first factor of 2
                line["psnr_db"] = psnr_db(image, self._clean)
            self.seconds += time.perf_counter() - wall
            self.cpu_seconds += time.process_time() - cpu
        self.lines.append(line)


def read_truth(path: Path, picture: Picture, task: Task, options: RestoreOptions) -> Truth:
    """Read the clean picture, before any work is done for it.

    Raises
    ------
    UsageError
        It has not the size and channels of what will come out.
    """
    data = read_file(path)
    known = decode_picture(data, str(path)).image
    scale = options.factor if task == "upscale" else 1
    height, width, channels = picture.image.shape
    if known.shape != (height * scale, width * scale, channels):
        result = f"{width * scale} x {height * scale} px of {channels} channels"
        seen = f"{known.shape[1]} x {known.shape[0]} px of {known.shape[2]}"
        raise UsageError(
            f"--truth {path} has {seen}, the result {result}. Pass the picture that belongs to it."
        )
    return Truth(image=known, sha256=hashlib.sha256(data).hexdigest())


def compare(picture: Picture, result: Picture, truth: Truth) -> dict[str, Any]:
    """Return PSNR of the result, rounded as in its file, and of what was given where the sizes allow."""
    top = 255 if result.bits == 8 else 65535
    shown = (np.round(np.clip(result.image, 0, 1) * top) / top).astype(np.float32)
    facts: dict[str, Any] = {"truth_sha256": truth.sha256, "psnr_db": psnr_db(shown, truth.image)}
    if picture.image.shape == truth.image.shape:
        facts["psnr_of_input_db"] = psnr_db(picture.image, truth.image)
    return facts
