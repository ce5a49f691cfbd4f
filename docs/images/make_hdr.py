"""Draw moving edges at each exposure for docs/hdr.md: ``python docs/images/make_hdr.py OUT.jpg``.

A simulated mug turns before a standing camera in hard light. A row for each exposure of the reference: the
reference as recorded, naive merging, fusion, the truth (all three through one curve), and the confidence.
Where naive merging is furthest from the truth, the picture is cut out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from walkaround.hdr.fusion import make_fusion, naive_merge
from walkaround.hdr.response import known_response
from walkaround.hdr.synthesis import CameraOptions, Clip, record_clip
from walkaround.hdr.synthesis.camera import grade, graded
from walkaround.hdr.tonemapping import ToneCurve, fit_curve
from walkaround.hdr.windows import window_around
from walkaround.io.image import write_jpeg
from walkaround.simulate import SimulateOptions
from walkaround.simulate.radiance import render_radiance
from walkaround.types import ByteArray, Float32Array

EXPOSURES = (1.0, 4.0, 16.0)
CELL = (150, 200)
TITLES = ("reference", "naive merge", "fusion", "truth", "confidence")


def main(out: Path) -> None:
    """Render, fuse, draw."""
    total = 3 * len(EXPOSURES)
    options = SimulateOptions(
        object="mug", num_frames=total, duration_s=total / 24, arc_deg=5.0 * total, size=(640, 420),
        moving_object=True, gloss=0.5, contrast_ev=5.0, seed=3,
    )  # fmt: skip
    pictures = list(render_radiance(options))
    numbers = grade(pictures[total // 2], 0.005, 0.03)
    clip = record_clip([graded(p, *numbers) for p in pictures], EXPOSURES, CameraOptions(), seed=0)
    curve = fit_curve(clip.truth, "filmic")
    rows = [draw_row(clip, number, curve) for number in range(len(EXPOSURES), 2 * len(EXPOSURES))]
    head = np.full((22, rows[0].shape[1], 3), 255, np.uint8)
    for n, title in enumerate(TITLES):
        write(head, title, (n * (CELL[1] + 4) + 4, 15))
    write_jpeg(out, np.vstack([head, *rows]), quality=85)


def draw_row(clip: Clip, number: int, curve: ToneCurve) -> ByteArray:
    """Return the cells of one reference beside each other."""
    response, window = known_response("gamma"), window_around(clip.frames, number, clip.period)
    naive, fused = naive_merge(response)(window), make_fusion(response)(window)
    truth, reference = clip.truth[number], clip.frames[number]
    pictures = [curve.picture(radiance) for radiance in (naive.radiance, fused.radiance, truth)]
    place = worst_place(pictures[0], pictures[2])
    confidence = np.rint(fused.confidence[..., None].repeat(3, axis=2) * 255).astype(np.uint8)
    recorded = np.rint(reference.image * 255).astype(np.uint8)
    cells = [np.ascontiguousarray(picture[place]) for picture in (recorded, *pictures, confidence)]
    write(cells[0], f"x {reference.exposure:g}", (6, CELL[0] - 8))
    border = {"borderType": cv2.BORDER_CONSTANT, "value": (255, 255, 255)}
    return np.hstack([np.asarray(cv2.copyMakeBorder(cell, 0, 4, 0, 4, **border)) for cell in cells])


def worst_place(picture: ByteArray, truth: ByteArray) -> tuple[slice, slice]:
    """Return the cell in which two pictures differ most."""
    gap: Float32Array = np.square(picture.astype(np.float32) - truth).mean(axis=2)
    inside = cv2.blur(gap, (CELL[1], CELL[0]))
    half = (CELL[0] // 2, CELL[1] // 2)
    inside = inside[half[0] : -half[0], half[1] : -half[1]]
    y, x = (int(at) for at in np.unravel_index(int(inside.argmax()), inside.shape))
    return slice(y, y + CELL[0]), slice(x, x + CELL[1])


def write(image: ByteArray, text: str, place: tuple[int, int]) -> None:
    """Write dark text with a light edge."""
    for color, width in ((255, 3), (0, 1)):
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (color,) * 3, width, cv2.LINE_AA)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
