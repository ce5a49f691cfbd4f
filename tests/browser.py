"""Pages in Debian's Chromium: skipped, visibly, where Playwright or the browser is not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
        browser.close()


def _lost(request: Any) -> list[str]:
    """Say what could not be loaded; what the next page cut off is no matter."""
    return [] if "ABORTED" in (request.failure or "") else [f"not there: {request.url}"]
