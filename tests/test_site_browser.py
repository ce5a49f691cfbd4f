"""The report's pages in a browser, from ``file://``: list, filters, cloud, keyboard, phone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.browser import opened_page
from tests.test_site import HOSTILE, good_mug, records, root, write

__all__ = ["root"]


def drawn_share(png: bytes) -> float:
    """Return the share of the upper half of a picture that is not its background."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    upper = image[8 : len(image) // 2, 8:-8].astype(int)
    return float((np.abs(upper - upper[0, 0]).sum(axis=2) > 12).mean())


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_list(root: Path, colours: str) -> None:
    write(root)
    with opened_page(f"file://{root}/report/index.html", color_scheme=colours) as (page, complaints):
        page.wait_for_selector(".cards img")
        assert page.inner_text(".found") == "3 sequences"
        page.select_option('[data-by="status"]', label="rejected (1)")
        assert page.inner_text(".found") == "1 of 3 sequences" and "status=" in page.url
        page.reload()
        page.wait_for_selector(".cards img")
        assert page.inner_text(".found") == "1 of 3 sequences", "the address keeps the filter"
        page.select_option('[data-by="status"]', "")
        page.keyboard.press("Escape")
        page.locator("h1").click()
        page.keyboard.press("/")
        page.keyboard.type("onerror")
        assert page.inner_text(".found") == "1 of 3 sequences"
        assert page.inner_text(".cards b") == HOSTILE
        page.click(".cards a")
        page.wait_for_selector("h1")
        assert page.inner_text("h1") == HOSTILE
        page.click(".trail a")
        page.wait_for_selector(".cards img")
        assert page.inner_text(".found") == "1 sequences"
    assert complaints == []


def test_cloud(root: Path) -> None:
    write(root)
    record = good_mug(root)
    address = f"file://{root}/report/classes/mug/{record.instance_id}/index.html"
    with opened_page(address, reduced_motion="reduce") as (page, complaints):
        if not page.evaluate("!!document.createElement('canvas').getContext('webgl')"):
            pytest.skip("this Chromium has no WebGL")
        page.wait_for_selector("canvas:not([hidden])")
        page.wait_for_timeout(300)
        assert page.get_attribute('[data-do="turn"]', "aria-pressed") == "false", "reduced motion: it rests"
        page.focus("canvas")
        shares = []
        for key in ("ArrowLeft", "-", "c"):
            page.keyboard.press(key)
            page.wait_for_timeout(150)
            shares.append(drawn_share(page.locator("canvas").screenshot()))
        assert 0.9 > shares[0] > shares[1] > shares[2] > 0.005, "further and further away"
        page.keyboard.press("0")
        page.keyboard.press(" ")
        assert page.get_attribute('[data-do="turn"]', "aria-pressed") == "true"
    assert complaints == []


def test_phone(root: Path) -> None:
    write(root)
    record = records(root)[-1]
    folder = root / "report"
    pages = (
        "index.html",
        "card.html",
        "classes/mug/index.html",
        f"classes/mug/{record.instance_id}/index.html",
    )
    viewport = {"width": 375, "height": 700}
    with opened_page(f"file://{folder}/index.html", viewport=viewport) as (page, complaints):
        for name in pages:
            page.goto(f"file://{folder}/{name}")
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") <= 375, name
    assert complaints == []


def test_without_scripts(root: Path) -> None:
    write(root)
    with opened_page(f"file://{root}/report/index.html", java_script_enabled=False) as (page, complaints):
        assert not page.locator(".filters").is_visible() and not page.locator(".found").is_visible()
        page.get_by_role("link", name="mug", exact=True).first.click()
        assert page.locator("noscript .cards a").count() == 2
        page.locator(f"noscript .cards a[href*='{good_mug(root).instance_id}']").click()
        assert page.inner_text("h1") == "mug" and page.locator("#orbit img").is_visible()
    assert complaints == []
