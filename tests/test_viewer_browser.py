"""The viewer in a real browser: Playwright with the system's Chromium; skipped, visibly, without them.

With WALKAROUND_SCREENSHOTS set to a folder, what was seen at each step is kept there.
"""

from __future__ import annotations

import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from tests.browser import keep_screenshot
from tests.released import write_mvimgnet, write_mvpnet
from walkaround.dataset.reviews import read_reviews
from walkaround.dataset.rows import read_catalog, write_catalog
from walkaround.geometry import transform_points
from walkaround.pipeline import BuildOptions, build_sequence

pytest.importorskip("viser", reason="viser is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page; the test fails when anything went wrong in its console."""
    opened = browser.new_page(viewport={"width": 1200, "height": 750})
    wrong: list[str] = []
    opened.on("console", lambda message: message.type == "error" and wrong.append(_said(message)))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    keep_screenshot(opened, "end")
    opened.close()
    # viser lets go of an image's blob when the next one comes, loaded or not
    assert [text for text in wrong if "ERR_FILE_NOT_FOUND blob:" not in text] == []


def _said(message: Any) -> str:
    return f"{message.text} {message.location['url']}"


def wait_for(what: Callable[[], Any], *, seconds: float = 30.0) -> Any:
    """Return what a function gives once it gives something."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


def place_of(client: Any, point: np.ndarray, box: dict[str, float]) -> tuple[float, float]:
    """Return where a point of the world is on the page."""
    import viser.transforms as tf

    camera = client.camera
    world_from_cam = np.eye(4)
    world_from_cam[:3, :3] = tf.SO3(camera.wxyz).as_matrix()
    world_from_cam[:3, 3] = camera.position
    x, y, z = transform_points(np.linalg.inv(world_from_cam), point)
    focal = box["height"] / 2 / np.tan(camera.fov / 2)
    return box["x"] + box["width"] / 2 + focal * x / z, box["y"] + box["height"] / 2 + focal * y / z


def picture_at(page: Any, selector: str) -> np.ndarray:
    """Return what is seen of an element, (h, w, 3)."""
    coded = page.locator(selector).screenshot()
    image = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(int)


def test_a_sequence(tmp_path: Path, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load, click a camera and fly there, the pair of frames with overlay and epipolar curve."""
    from walkaround.viewer.session import open_session

    write_mvimgnet(tmp_path / "mvi", ("0/0a00b1",))
    with open_session(tmp_path / "mvi" / "0" / "0a00b1", port=0) as session:
        page.goto(session.address)
        wait_for(lambda: page.locator("#poster").evaluate("i => i.naturalWidth > 100"))
        keep_screenshot(page, "at-once")
        with urllib.request.urlopen(page.locator("#poster").evaluate("i => i.src"), timeout=20) as reply:
            poster = cv2.imdecode(np.frombuffer(reply.read(), np.uint8), cv2.IMREAD_COLOR)
        assert poster is not None and (poster < 200).any(axis=2).mean() > 0.002, "something is drawn at once"
        inner = page.frame_locator("#view")
        inner.get_by_role("button", name="Fly to this camera").wait_for(timeout=30_000)
        window = session.window
        (client,) = wait_for(lambda: list(window.server.get_clients().values()))
        content = window.content
        assert content is not None
        wait_for(lambda: np.linalg.norm(client.camera.look_at - content.around.centre) < 1e-3)
        wait_for(lambda: page.locator("#poster").is_hidden())
        page.wait_for_timeout(1000)
        keep_screenshot(page, "loaded")
        chosen = content.views[5]
        target = chosen.centre + 0.06 * content.around.radius * chosen.cam_from_world[2, :3]
        page.mouse.click(*place_of(client, target, inner.locator("canvas[data-engine]").bounding_box()))
        wait_for(lambda: window.number != 0)
        there = content.view_of[content.frames[window.number].image]
        wait_for(lambda: np.linalg.norm(client.camera.position - there.centre) < 1e-3)
        page.wait_for_timeout(500)
        keep_screenshot(page, "in-a-camera")

        shown = window.panel.image.image.copy()  # the overlay of the panel
        window.panel.mask.value = 1.0
        window.repaint()
        assert (window.panel.image.image != shown).any()
        number = window.number
        page.locator("#tab-view").focus()  # the keys of the 3-D view work beside it too
        page.keyboard.press("ArrowRight")
        wait_for(lambda: window.number == number + 1)
        page.keyboard.press("?")
        assert page.locator("#help").is_visible() and page.locator(".of-list").is_hidden()
        keep_screenshot(page, "keys")
        page.keyboard.press("Escape")
        assert page.locator("#help").is_hidden()

        page.get_by_role("tab", name="Two frames").click()
        wait_for(lambda: page.locator("#side-b circle").count() == 50)
        image = page.locator("#side-a img")
        wait_for(lambda: image.evaluate("i => i.complete && i.naturalWidth"))
        page.locator("#show-matches").uncheck()
        plain = picture_at(page, "#side-a")
        page.locator("#pair-mask").fill("1")
        wait_for(lambda: "mask=1" in image.get_attribute("src") and image.evaluate("i => i.naturalWidth"))
        wait_for(lambda: (np.abs(picture_at(page, "#side-a") - plain).sum(axis=2) > 60).mean() > 0.02)
        page.locator("#show-matches").check()
        page.locator("#side-a").hover()
        wait_for(lambda: page.locator("#side-b polyline").count() == 1)


def test_a_dataset(tmp_path: Path, page: Any, fake_stages: ModuleType) -> None:
    """Filter, open, step, accept with a note, filter by the decision."""
    from walkaround.viewer.session import open_session

    root = tmp_path / "root"
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
        if name == "c":
            fake_stages.scores["cameras"] = {"registered_share": 0.1}
        build_sequence(tmp_path / f"{name}.mp4", root, options=BuildOptions(instance_id=name * 4))
    with open_session(root, port=0) as session:
        page.goto(session.address)
        rows = page.locator("#rows li")
        wait_for(lambda: rows.count() == 3 and page.locator("#title").inner_text().endswith("aaaa"))
        page.keyboard.press("n")
        wait_for(lambda: page.locator("#title").inner_text().endswith("bbbb"))
        page.select_option("[name=status]", "rejected")
        wait_for(lambda: rows.count() == 1)
        rows.first.get_by_role("button").click()
        wait_for(lambda: page.locator("#title").inner_text().endswith("cccc"))
        page.fill("#review [name=note]", "fine by eye")
        page.keyboard.press("Escape")
        page.keyboard.press("a")
        (written,) = wait_for(lambda: read_reviews(root / "reviews.jsonl"))
        assert (written.instance_id, written.decision, written.note) == ("cccc", "accept", "fine by eye")
        page.select_option("[name=status]", "")
        page.select_option("[name=review]", "accept")
        wait_for(lambda: rows.count() == 1 and "accepted by hand" in rows.first.inner_text())
        keep_screenshot(page, "accepted")
        page.keyboard.press("r")
        wait_for(lambda: "rejected by hand" in page.locator("#decided").inner_text())
        assert "the build found: rejected" in page.locator("#decided").inner_text()
        page.keyboard.press("u")
        wait_for(lambda: "accepted by hand" in page.locator("#decided").inner_text())
        assert session.window.content is not None
        said = session.window.content.summary[:2]
        assert said == ["accepted by hand (fine by eye)", "the build found: rejected"]
        assert session.window.panel.text.content.startswith("accepted by hand")
        wait_for(lambda: ("cccc", "accepted", "accept") in decided(root))
        page.select_option("[name=review]", "")
        page.fill("[name=text]", "nothing")
        wait_for(lambda: page.locator("#count").inner_text() == "no sequence fits the filters")
        page.fill("[name=text]", "")
        page.set_viewport_size({"width": 390, "height": 800})
        wait_for(lambda: rows.count() == 3)
        shown, tabs = page.locator("#rows").bounding_box(), page.locator("nav").bounding_box()
        assert shown["height"] > 100
        for part in ("#rows", "#review", "#review .decisions"):
            box = page.locator(part).bounding_box()
            assert box["y"] + box["height"] <= tabs["y"] + 1
        keep_screenshot(page, "phone")
    assert ("cccc", "accepted", "accept") in decided(root)


def decided(root: Path) -> set[tuple[str, str, str | None]]:
    return {(row["instance_id"], row["status"], row["review"]) for row in read_catalog(root)}


def test_an_empty_dataset(tmp_path: Path, page: Any) -> None:
    from walkaround.viewer.session import open_session

    write_catalog(tmp_path, [])
    with open_session(tmp_path, port=0) as session:
        page.goto(session.address)
        wait_for(lambda: page.locator("#count").inner_text() == "no sequences yet")
        assert page.locator("#nothing").is_visible() and page.locator("#view").is_hidden()


def test_a_cloud_alone_and_the_token(tmp_path: Path, page: Any) -> None:
    """A point cloud without frames, seen from another machine: only with the token."""
    from walkaround.viewer.session import open_session

    write_mvpnet(tmp_path / "mvp", ("0/00000050",))
    with open_session(tmp_path / "mvp" / "0" / "00000050.pcd", host="0.0.0.0", port=0) as session:
        address = f"http://127.0.0.1:{session.gateway.port}/"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(address, timeout=20)
        page.emulate_media(color_scheme="dark")
        page.goto(f"{address}?token={session.token}")
        page.frame_locator("#view").get_by_role("button", name="See all").wait_for(timeout=30_000)
        wait_for(lambda: page.locator("#poster").is_hidden())
        keep_screenshot(page)
        wait_for(lambda: picture_at(page, "#view")[-20:, :200].max() < 60)  # dark where the browser is
        assert "token" not in page.url and page.locator("#tab-pair").is_disabled()


def test_two_beside_each_other(tmp_path: Path, page: Any) -> None:
    """Turning one view turns the other, and both the same."""
    from walkaround.viewer.session import open_session

    write_mvimgnet(tmp_path / "mvi", ("0/0a00b1", "0/0a00b2"))
    folder = tmp_path / "mvi" / "0"
    with open_session(folder / "0a00b1", compare=folder / "0a00b2", port=0) as session:
        page.goto(session.address)
        assert session.other is not None
        servers = session.window.server, session.other.server
        left, right = (wait_for(lambda s=s: list(s.get_clients().values()))[0] for s in servers)
        wait_for(lambda: page.locator("#poster").is_hidden())
        page.wait_for_timeout(1500)
        before = left.camera.position.copy()
        box = page.frame_locator("#view").locator("canvas[data-engine]").bounding_box()
        x, y = box["x"] + 0.2 * box["width"], box["y"] + 0.8 * box["height"]
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 90, y - 10, steps=6)
        page.mouse.up()
        wait_for(lambda: np.linalg.norm(left.camera.position - before) > 0.2)
        page.wait_for_timeout(1000)
        wait_for(lambda: np.allclose(left.camera.position, right.camera.position, atol=0.02))
        assert page.locator("#other-title").inner_text() == "0 / 0a00b2"
        keep_screenshot(page)
