"""The viewer in a real browser: Playwright with the system's Chromium; skipped, visibly, without them.

With WALKAROUND_SCREENSHOTS set to a folder, what was seen is kept there.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.released import write_mvimgnet
from walkaround.dataset.reviews import read_reviews
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
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page; the test fails when anything went wrong in its console."""
    opened = browser.new_page(viewport={"width": 1200, "height": 750})
    wrong: list[str] = []
    opened.on("console", lambda message: message.type == "error" and wrong.append(_said(message)))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    yield opened
    folder = os.environ.get("WALKAROUND_SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        opened.screenshot(path=str(Path(folder) / f"{request.node.name}.png"))
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


def test_a_sequence(tmp_path: Path, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load, click a camera and fly there, the pair of frames with overlay and epipolar curve."""
    from walkaround.viewer.session import open_session

    write_mvimgnet(tmp_path / "mvi", ("0/0a00b1",))
    with open_session(tmp_path / "mvi" / "0" / "0a00b1", port=0) as session:
        page.goto(session.address)
        inner = page.frame_locator("#view")
        inner.get_by_role("button", name="Fly to this camera").wait_for(timeout=30_000)
        window = session.window
        (client,) = wait_for(lambda: list(window.server.get_clients().values()))
        content = window.content
        assert content is not None
        wait_for(lambda: np.linalg.norm(client.camera.look_at - content.around.centre) < 1e-3)
        page.wait_for_timeout(1000)
        chosen = content.views[5]
        target = chosen.centre + 0.085 * content.around.radius * chosen.cam_from_world[2, :3]
        page.mouse.click(*place_of(client, target, page.locator("#view").bounding_box()))
        wait_for(lambda: window.number != 0)
        there = content.view_of[content.frames[window.number].image]
        wait_for(lambda: np.linalg.norm(client.camera.position - there.centre) < 1e-3)

        page.get_by_role("tab", name="Two frames").click()
        wait_for(lambda: page.locator("#side-b circle").count() == 50)
        page.locator("#pair-mask").fill("1")
        image = page.locator("#side-a img")
        wait_for(lambda: "mask=1" in image.get_attribute("src") and image.evaluate("i => i.naturalWidth"))
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
        page.wait_for_timeout(1500)
        before = left.camera.position.copy()
        box = page.locator("#view").bounding_box()
        x, y = box["x"] + 0.2 * box["width"], box["y"] + 0.8 * box["height"]
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 90, y - 10, steps=6)
        page.mouse.up()
        wait_for(lambda: np.linalg.norm(left.camera.position - before) > 0.2)
        page.wait_for_timeout(1000)
        wait_for(lambda: np.allclose(left.camera.position, right.camera.position, atol=0.02))
        assert page.locator("#other-title").inner_text() == "0 / 0a00b2"
