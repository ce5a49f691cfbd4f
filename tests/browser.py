"""Pages in Debian's Chromium: skipped, visibly, where Playwright or the browser is not there.

With WALKAROUND_SCREENSHOTS set to a folder, what a page looked like at the end is kept there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


@contextmanager
def opened_page(address: str, **context: Any) -> Iterator[tuple[Any, list[str]]]:
    """Yield a page and what its console complained about; nothing outside of ``file://`` is let through."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no Chromium (apt-get install chromium)")
    complaints: list[str] = []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_context(**context).new_page()
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.extend(_lost(request)))
        page.route("http*://**", lambda route: route.abort())
        page.goto(address)
        yield page, complaints
        keep_screenshot(page)
        browser.close()


def keep_screenshot(page: Any, what: str = "") -> None:
    """Keep a picture of a page, named after the test that runs and what is seen, where that is wanted."""
    folder = os.environ.get("WALKAROUND_SCREENSHOTS")
    if folder:
        test = os.environ.get("PYTEST_CURRENT_TEST", "page").rpartition("::")[2].partition(" ")[0]
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{test}-{what}" if what else test).strip("_")
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def _lost(request: Any) -> list[str]:
    """Say what could not be loaded; what the next page cut off is no matter."""
    return [] if "ABORTED" in (request.failure or "") else [f"not there: {request.url}"]
