"""Photograph the top of a page: ``python docs/images/make_report.py SEQUENCE/report.html OUT.jpg``.

Needs the extra ``test`` and a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from walkaround.io.image import write_jpeg


def main(page_path: Path, out: Path) -> None:
    """Open it, wait for its pictures, take the photograph."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 960, "height": 1376})
        page.goto(page_path.resolve().as_uri())
        page.wait_for_load_state("networkidle")
        seen = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        write_jpeg(out, np.ascontiguousarray(seen[..., ::-1]), quality=80)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
