"""Draw restore_holes.jpg: ``python docs/images/make_restore_holes.py DATA/truth/bunny/images/001.png``.

A row a hole of 50 x 40 pixels: the hole, a thin plate, the prior, pieces of the picture, the truth.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from walkaround.restore.holes import drawn_by_patches, drawn_by_prior, fill_holes
from walkaround.restore.options import PriorOptions
from walkaround.restore.picture import read_picture
from walkaround.restore.plate import fill_smooth

PLACES = ((380, 225), (225, 475), (50, 690))
"""Rows and columns of the holes' corners: the table, the outline of the bunny, the wall behind it."""
HEIGHT_PX, WIDTH_PX, SHOWN_PX, SCALE = 40, 50, 28, 1.6
ITERATIONS = 150


def main(path: Path) -> None:
    """Fill and draw."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    truth, rows = read_picture(path).image, []
    for top, left in PLACES:
        known = np.ones(truth.shape[:2], bool)
        known[top : top + HEIGHT_PX, left : left + WIDTH_PX] = False
        image = np.where(known[..., None], truth, 0).astype(np.float32)
        began = time.process_time()
        pieces = fill_holes(image, known, drawn_by_patches())
        between = time.process_time()
        prior = fill_holes(image, known, drawn_by_prior(options=PriorOptions(iterations=ITERATIONS)))
        print(f"pieces {between - began:.1f} s, prior {time.process_time() - between:.1f} s")
        shown = np.s_[
            top - SHOWN_PX : top + HEIGHT_PX + SHOWN_PX, left - SHOWN_PX : left + WIDTH_PX + SHOWN_PX
        ]
        pictures = (image, fill_smooth(image, known), prior, pieces, truth)
        rows.append(np.concatenate([np.clip(picture[shown], 0, 1) for picture in pictures], 1))
    sheet = (np.concatenate(rows)[..., ::-1] * 255).round().astype(np.uint8)
    sheet = cv2.resize(sheet, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(Path(__file__).parent / "restore_holes.jpg"), sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
