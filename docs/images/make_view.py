"""Photograph the viewer for docs/view.md: ``python docs/images/make_view.py SEQUENCE_OR_ROOT OUT.jpg``.

Needs the extras ``view`` and ``test``, and a Chromium on the PATH.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from walkaround.io.image import write_jpeg
from walkaround.viewer.session import open_session

ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def main(shown: Path, out: Path) -> None:
    """Open, wait until all is drawn, take the picture."""
    with open_session(shown, port=0) as session, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 800})
        page.goto(session.address)
        inner = page.frame_locator("#view")
        inner.get_by_role("checkbox", name="support plane", exact=True).check(timeout=60_000)
        inner.get_by_text("Frame", exact=True).scroll_into_view_if_needed()
        warning = inner.get_by_text("Software WebGL").locator("xpath=../..").get_by_role("button")
        if warning.count():
            warning.first.click()
        page.wait_for_timeout(8000)
        seen = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        write_jpeg(out, np.ascontiguousarray(seen[..., ::-1]), quality=82)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
