"""What the viewer shows and what a click means, without a browser; the door; the command."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests import fakes
from tests.released import write_mvimgnet, write_mvpnet
from tests.test_dataset import RECORD
from walkaround.cli import main
from walkaround.dataset.readers import Scene
from walkaround.dataset.readers.place import open_folder
from walkaround.dataset.schema import StageRecord, write_record
from walkaround.errors import FormatError, UsageError
from walkaround.geometry import project, transform_points
from walkaround.types import Camera, PointCloud, View
from walkaround.viewer import (
    answers,
    clouds,
    detail,
    flight,
    hull,
    link,
    measure,
    pairs,
    pictures,
    poster,
    world,
)
from walkaround.viewer.content import Content
from walkaround.viewer.gateway import Gateway, Request, Response, allowed_host, is_loopback, same_origin
from walkaround.viewer.places import open_scene

VIEWS = fakes.make_model(fakes.make_frames()).views


# --- where things stand ---


def test_a_released_scene_is_seen_upright_about_its_object() -> None:
    around = world.surroundings(VIEWS, None)
    np.testing.assert_allclose(around.centre, 0, atol=1e-9)
    np.testing.assert_allclose(around.up, [0, 0, 1], atol=1e-9)
    assert around.radius == pytest.approx(np.hypot(1, 0.4))
    assert around.plane is None


def test_our_world_is_taken_as_it_is() -> None:
    notes = {"cameras": {"support_plane": [0.0, 0.0, 2.0, 0.4]}, "masks": {"support_plane": None}}
    around = world.surroundings(VIEWS, notes)
    np.testing.assert_array_equal(around.up, [0, 0, 1])
    patch = world.plane_patch(around)
    assert patch is not None
    np.testing.assert_allclose(patch[0], [0, 0, -0.2])
    np.testing.assert_allclose(patch[1] @ patch[1].T, np.eye(3), atol=1e-12)


def test_the_arc_is_the_circle_without_its_widest_gap() -> None:
    around = world.surroundings(VIEWS, {})
    arc = world.arc_of(VIEWS, around)
    assert arc.covered_deg == pytest.approx(8 * 28.8)  # nine cameras, 288 degrees over ten
    np.testing.assert_allclose(np.linalg.norm(arc.covered[..., :2], axis=-1), 1, atol=1e-9)
    ends = {tuple(np.round(end, 6)) for end in (arc.covered[0, 0], arc.covered[-1, 1])}
    assert ends == {tuple(np.round(VIEWS[n].centre, 6)) for n in (0, -1)}


def test_parallel_cameras_have_a_centre() -> None:
    pose = np.eye(4)
    shifted = np.eye(4)
    shifted[0, 3] = 1.0
    views = [
        View(frame=v.frame, camera=v.camera, cam_from_world=p)
        for v, p in zip(VIEWS[:2], (pose, shifted), strict=True)
    ]
    assert np.isfinite(world.surroundings(views, None).centre).all()


def test_an_image_stands_where_its_camera_sees_it() -> None:
    """Its middle and its corners project to the middle and the corners of the image."""
    camera = Camera(model="PINHOLE", width=200, height=100, params=(150.0, 140.0, 90.0, 60.0))
    view = View(frame=VIEWS[3].frame, camera=camera, cam_from_world=VIEWS[3].cam_from_world)
    centre, width, height = world.backdrop(view, 2.5)
    axes = view.cam_from_world[:3, :3]
    corner = centre + width / 2 * axes[0] + height / 2 * axes[1]
    seen = project(camera, transform_points(view.cam_from_world, np.array([centre, corner])))
    np.testing.assert_allclose(seen, [[100, 50], [200, 100]], atol=1e-9)
    assert world.depth_of(view, centre) == pytest.approx(2.5)


def test_all_of_an_image_is_seen_on_any_canvas() -> None:
    camera = Camera(model="PINHOLE", width=200, height=100, params=(100.0, 100.0, 100.0, 50.0))
    assert world.fov_to_see_all(camera, 3.0) == pytest.approx(world.vertical_fov(camera))
    narrow = world.fov_to_see_all(camera, 0.5)
    assert np.tan(narrow / 2) * 0.5 == pytest.approx(1.0)  # half the width at distance 1


# --- points ---


def test_levels_add_up_to_the_cloud() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, 1, (400_000, 3)).astype(np.float32)
    points[7] = np.nan
    found = list(clouds.levels(PointCloud(points_in_world=points)))
    assert [level.total for level in found] == [60_000, 180_000, 399_999]
    together = np.concatenate([level.points_in_world for level in found])
    assert len(np.unique(together, axis=0)) == 399_999
    np.testing.assert_allclose(found[0].points_in_world.mean(axis=0), 0, atol=0.02)  # an even sample
    assert list(clouds.levels(PointCloud(points_in_world=points[:0]))) == []


def test_as_many_levels_as_fit() -> None:
    totals = [60_000, 180_000, 399_999]
    assert [clouds.num_levels_for(n, totals) for n in (10, 60_000, 200_000, 10**7)] == [1, 1, 2, 3]
    assert clouds.num_levels_for(100, []) == 0


def test_a_click_means_the_nearest_surface() -> None:
    front = np.array([[x, y, 2.0] for x in np.linspace(-1, 1, 81) for y in np.linspace(-1, 1, 81)])
    points = np.concatenate([front, front * 2]).astype(np.float32)
    found = measure.point_at_ray(points, np.zeros(3), np.array([0.12, 0.06, 1.0]) * 7)
    assert found is not None
    np.testing.assert_allclose(found, [0.24, 0.12, 2.0], atol=0.02)
    assert measure.point_at_ray(points, np.zeros(3), np.array([0.0, 0.0, -1.0])) is None
    assert measure.point_at_ray(points[:0], np.zeros(3), np.array([0.0, 0.0, 1.0])) is None


def test_a_length_has_its_unit() -> None:
    one, other = np.zeros(3), np.array([0.03, 0.04, 0.0])
    assert measure.length_text(one, other, metric=False) == "0.0500 units"
    assert measure.length_text(one, other, metric=True) == "50.0 mm"
    assert measure.length_text(one, other * 100, metric=True) == "5.000 m"


def test_the_mask_solid_of_a_ball_is_a_ball() -> None:
    """Each view's mask is the ball's outline; the hull of a walk around it holds the ball and little more."""
    masks = []
    for view in VIEWS:
        mask = np.zeros((view.camera.height, view.camera.width), np.uint8)
        distance = float(np.linalg.norm(view.centre))
        radius = 100.0 * 0.2 / np.sqrt(distance**2 - 0.2**2)
        cv2.circle(mask, (48, 36), round(radius), 1, -1)
        masks.append((view, mask > 0))
    low, high = np.full(3, -0.4), np.full(3, 0.4)
    cells, size = hull.carve(masks, low, high)
    middles = low + (np.argwhere(cells) + 0.5) * size
    inside = np.linalg.norm(low + (np.argwhere(np.ones_like(cells)) + 0.5) * size, axis=1) < 0.19
    assert cells.ravel()[inside].all()
    assert np.linalg.norm(middles, axis=1).max() < 0.3
    vertices, triangles = hull.mesh_of(cells, low, size)
    corners = vertices[triangles]
    volume = np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume == pytest.approx(cells.sum() * size**3)  # closed, and its faces look outwards


# --- pictures ---


def test_overlays() -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    probability = np.zeros((40, 60), np.float32)
    probability[10:30, 10:30] = 1
    depth = np.zeros((40, 60), np.float32)
    depth[:, 40:] = np.linspace(1, 2, 20)
    picture = pictures.Picture(
        image_srgb=image,
        fg_probability=probability,
        depth_srgb=pictures.colour_depth(depth),
        depth_valid=depth > 0,
    )
    assert (pictures.laid_over(picture, mask_opacity=0, depth_opacity=0) == 100).all()
    masked = pictures.laid_over(picture, mask_opacity=1, depth_opacity=0)
    assert (masked[0, 0] == 100).all()
    assert masked[10, 10].tolist() == list(pictures.MASK_COLOUR)  # the outline in full, the inside tinted
    assert (masked[20, 20] != 100).any()
    shown = pictures.laid_over(picture, mask_opacity=0, depth_opacity=1)
    assert (shown[:, :40] == 100).all()
    assert shown[0, 40, 0] > shown[0, 59, 0]  # near is red
    assert shown[0, 40, 2] < shown[0, 59, 2]  # far is blue


# --- scenes ---


@pytest.fixture
def released(tmp_path: Path) -> Path:
    write_mvimgnet(tmp_path / "mvi")
    return tmp_path / "mvi"


def test_a_released_scene_with_masks_elsewhere(released: Path) -> None:
    content = Content(open_scene(released / "17" / "0b00c3"))
    assert content.title == "17 / 0b00c3"
    assert len(content.frames) == 10
    assert len(content.views) == 9
    assert content.has_masks
    picture = content.picture("001.jpg")
    assert picture.fg_probability is not None and picture.fg_probability.max() > 0.8
    assert picture.depth_srgb is None
    assert content.cloud is None
    assert content.summary == ["10 frames, 9 with a camera", "230° of the circle covered"]
    assert content.problems == []


def test_a_cloud_alone(tmp_path: Path) -> None:
    write_mvpnet(tmp_path)
    content = Content(open_scene(tmp_path / "0" / "00000050.pcd"))
    assert content.cloud is not None
    assert content.title == "0 / 00000050"
    assert content.frames == () and content.arc is None and content.solid is None
    assert content.around.radius > 0


def test_what_is_broken_is_named_and_the_rest_is_shown(released: Path) -> None:
    folder = released / "0" / "0a00b1"
    (folder / "sparse" / "0" / "images.bin").write_bytes(b"x" * 20)
    (folder / "cloud.ply").write_bytes(b"no cloud")
    content = Content(open_scene(folder))
    assert content.views == () and content.cloud is None
    assert len(content.problems) == 2
    assert content.around.radius == 1
    with pytest.raises(FormatError, match=r"images/nothing\.jpg"):
        content.picture("nothing.jpg")


def test_all_that_is_missing_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Parts and files that the record lists and the folder lacks; a file cut short; a folder that is gone."""
    parts = ("images", "masks", "depth", "confidence")
    sizes = {f"{part}/{number:03d}.png": 7 for part in parts for number in range(1, 6)} | {"cloud.ply": 7}
    stages = {
        "frames": StageRecord(key="k", outputs={"images/raw.png": 99}),
        "hdr": StageRecord(key="k", outputs=sizes),  # wrote the images anew
    }
    folder = tmp_path / "Tasse" / "0123456789ab"
    for path in sizes:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"7 bytes")
    write_record(folder, dataclasses.replace(RECORD, frames=(), stages=stages))
    assert Content(open_scene(folder)).problems == []
    (folder / "cloud.ply").unlink()
    shutil.rmtree(folder / "depth")
    (folder / "masks" / "003.png").unlink()
    (folder / "images" / "002.png").write_bytes(b"7")
    for number in range(1, 5):
        (folder / "confidence" / f"{number:03d}.png").unlink()
    scene = open_scene(folder)
    assert Content(scene).problems == [
        "images: 1 of 5 files is of another size than the build wrote (002.png)",
        "masks: 1 of 5 files is missing (003.png)",
        "depth: all 5 files are missing",
        "confidence: 4 of 5 files are missing (001.png, 002.png, 003.png, ...)",
        "cloud.ply is missing",
    ]
    shutil.rmtree(folder)
    (problem,) = Content(Scene(class_label="Tasse", instance_id="0123456789ab", files=scene.files)).problems
    assert f"{folder} is gone or empty" in problem


def test_a_sequence_near_the_top() -> None:
    """/tmp/mug: there is no place beside the top of the file system where masks or repairs could lie."""
    assert open_folder(Path(Path.cwd().anchor, "nothing", "here")).repaired == ()


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        open_scene(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="is no sequence"):
        open_scene(tmp_path / "empty")


# --- the door ---


def answer(request: Request) -> Response:
    return Response(body=f"{request.method} {request.path}".encode())


@pytest.fixture
def upstream() -> Iterator[int]:
    """A server that says what it was asked, as viser would get it."""
    with Gateway_on_loopback(lambda request: Response(body=f"viser {request.path}".encode())) as gateway:
        yield gateway.port


class Gateway_on_loopback:
    def __init__(self, respond: object = answer, *, token: str | None = None, upstream: int = 0) -> None:
        self.gateway = Gateway(
            "127.0.0.1",
            0,
            token=token,
            respond=respond,  # type: ignore[arg-type]
            upstreams={"3d": lambda: ("127.0.0.1", upstream)},
        )

    def __enter__(self) -> Gateway:
        return self.gateway

    def __exit__(self, *_: object) -> None:
        self.gateway.close()


def ask(port: int, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Send one GET; return status, body, headers. Redirects are not followed."""
    head = {"Host": f"127.0.0.1:{port}", "Connection": "close", **headers}
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode())
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    top, _, body = data.decode().partition("\r\n\r\n")
    first, *rest = top.split("\r\n")
    return int(first.split()[1]), body, dict(line.split(": ", 1) for line in rest)


def test_own_pages_and_those_behind(upstream: int) -> None:
    with Gateway_on_loopback(upstream=upstream) as gateway:
        assert ask(gateway.port, "/a?b=c")[:2] == (200, "GET /a")
        assert ask(gateway.port, "/3d/x?y=1")[:2] == (200, "viser /x")


def test_foreign_pages_are_turned_away(upstream: int) -> None:
    """Against pages of other sites, and against their names that resolve to this machine."""
    with Gateway_on_loopback(upstream=upstream) as gateway:
        for path in ("/", "/3d/"):
            assert ask(gateway.port, path, Host="evil.example")[0] == 403
            assert ask(gateway.port, path, Origin="http://evil.example")[0] == 403
            assert ask(gateway.port, path, Origin=f"http://127.0.0.1:{gateway.port}")[0] == 200


def test_the_token_is_asked_for_and_leaves_the_address(upstream: int) -> None:
    with Gateway_on_loopback(token="open-sesame", upstream=upstream) as gateway:
        for path in ("/", "/3d/", "/?token=wrong", "/3d/?token="):
            status, body, _ = ask(gateway.port, path)
            assert status == 401 and "token" in body
        assert ask(gateway.port, "/", Cookie=f"walkaround_token_{gateway.port}=wrong")[0] == 401
        status, _, headers = ask(gateway.port, "/?token=open-sesame&key=a")
        assert (status, headers["Location"]) == (303, "/?key=a")
        assert "HttpOnly" in headers["Set-Cookie"] and "SameSite=Strict" in headers["Set-Cookie"]
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert ask(gateway.port, "/", Cookie=cookie)[0] == 200
        assert ask(gateway.port, "/3d/", Cookie=f"other=1; {cookie}")[:2] == (200, "viser /")


def test_what_is_not_loopback_needs_a_token() -> None:
    with pytest.raises(UsageError, match="needs a token"):
        Gateway("0.0.0.0", 0, token=None, respond=answer, upstreams={})
    assert [is_loopback(name) for name in ("localhost", "127.1.2.3", "::1", "[::1]", "0.0.0.0", "a.b")] == [
        *(True,) * 4,
        *(False,) * 2,
    ]
    assert allowed_host("anything:80", local_only=False)
    assert not allowed_host("", local_only=True)
    assert same_origin(None, "x") and not same_origin("null", "x")


def test_a_port_in_use() -> None:
    with Gateway_on_loopback() as gateway, pytest.raises(UsageError, match="cannot be listened on"):
        Gateway("127.0.0.1", gateway.port, token=None, respond=answer, upstreams={})


@pytest.mark.parametrize("host", ["192.0.2.1", "300.1.1.1"])
def test_a_host_that_is_not_ours(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    if host == "300.1.1.1":  # no test asks a name server
        monkeypatch.setattr(socket.socket, "bind", unknown)
    with pytest.raises(UsageError, match=rf"--host {host} is no address of this machine") as caught:
        Gateway(host, 0, token="t", respond=answer, upstreams={})
    assert "--port" not in str(caught.value)


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("viser", reason="viser is not installed")
    assert main(["view", str(tmp_path / "missing"), "--port", "0"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_session_serves_its_page_and_viser(released: Path) -> None:
    pytest.importorskip("viser", reason="viser is not installed")
    from walkaround.viewer.session import open_session

    with open_session(released / "0" / "0a00b1", port=0) as session:
        with urllib.request.urlopen(session.address, timeout=20) as reply:
            assert b"/app.js" in reply.read()
        with urllib.request.urlopen(f"{session.address}3d/", timeout=20) as reply:
            assert b"<!doctype html>" in reply.read(200).lower()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{session.address}missing", timeout=20)
        session.window.select(2, None, fly=True)
        assert session.window.panel.frame.value == 3
        session.window.set_shown("mask solid", True)
        session.window.step(-1, None)
        assert session.window.number == 1
        panel = session.window.panel
        panel.mask.value, panel.shown["cameras"].value, panel.budget.value = 0.25, False, "180,000"
        session.window.show(open_scene(released / "17" / "0b00c3"))  # the controls stay as they stand
        settings = session.window.panel.settings
        assert (settings.mask, settings.budget) == (0.25, 180_000)
        assert settings.shown == {"object points", "arc"}
        assert not any(handle.visible for handle in session.window.cameras.values())


class Drawn:
    """A point cloud in a viser server that nobody looks at."""

    def __init__(self) -> None:
        self.visible, self.point_size = False, 1.0


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Levels that were drawn: their numbers and totals."""
    found: list[tuple[int, int]] = []

    def draw(server: object, number: int, level: clouds.Level) -> Drawn:
        found.append((number, level.total))
        return Drawn()

    monkeypatch.setattr("walkaround.viewer.drawing.draw_level", draw)
    monkeypatch.setattr("walkaround.viewer.detail._PAUSE_S", 0.0)
    return found


def test_levels_wait_for_a_browser_its_answer_and_the_budget(drawn: list[tuple[int, int]]) -> None:
    points = np.random.default_rng(0).random((700_000, 3)).astype(np.float32)
    found = clouds.levels(PointCloud(points_in_world=points))
    one = detail.Detail(None, detail.Wanted(budget=60_000), threading.RLock())  # type: ignore[arg-type]
    assert one.draw(found) and one.first is not None and drawn == [(0, 60_000)]
    thread = threading.Thread(target=one.follow, args=(found,), daemon=True)
    thread.start()

    def settled(count: int) -> bool:
        end = time.monotonic() + 20
        while len(drawn) < count and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.05)
        return len(drawn) == count

    assert settled(1), "no browser yet"
    one.browser_came()
    assert settled(1), "more than is wanted"
    one.want(detail.Wanted(budget=10**6))
    assert settled(2), "the third level waits for what the browser draws with"
    assert one.num_visible == 180_000
    one.browser_answered()
    assert settled(4) and one.totals[-1] == 700_000
    thread.join(10)
    assert not thread.is_alive()
    one.want(detail.Wanted(budget=200_000, size_factor=2.0))
    assert one.num_visible == 180_000
    one.want(detail.Wanted(visible=False))
    assert one.num_visible == 0


def test_another_scene_ends_the_waiting(drawn: list[tuple[int, int]]) -> None:
    found = clouds.levels(PointCloud(points_in_world=np.zeros((200_000, 3), np.float32)))
    one = detail.Detail(None, detail.Wanted(), threading.RLock())  # type: ignore[arg-type]
    one.draw(found)
    thread = threading.Thread(target=one.follow, args=(found,), daemon=True)
    thread.start()
    one.close()
    thread.join(10)
    assert not thread.is_alive() and len(drawn) == 1 and not one.draw(found)


def test_the_poster_shows_what_the_3d_view_will(released: Path) -> None:
    """A red point at the scene's centre is in the middle; one to the right of the eye, at the right."""
    content = Content(open_scene(released / "0" / "0a00b1"))
    around = content.around
    position = flight.home_position(around, 2.0)
    right = np.cross(around.centre - position, around.up)
    right *= 0.5 * around.radius / np.linalg.norm(right)
    level = clouds.Level(
        points_in_world=np.array([around.centre, around.centre + right], np.float32),
        colors=np.array([[255, 0, 0], [0, 0, 255]], np.uint8),
        total=2,
    )
    image = poster.draw_poster(content, level, (400, 200)).astype(int)
    rows, columns = np.nonzero((image[..., 0] > 200) & (image[..., 2] < 60))
    assert abs(columns.mean() - 200) < 3 and abs(rows.mean() - 100) < 3
    rows, columns = np.nonzero((image[..., 2] > 200) & (image[..., 0] < 60))
    distance = np.linalg.norm(around.centre - position)
    focal = 100 / np.tan(flight.HOME_FOV / 2)
    assert abs(columns.mean() - (200 + focal * 0.5 * around.radius / distance)) < 4
    dark = poster.draw_poster(content, level, (400, 200), dark=True)
    assert (np.median(image), np.median(dark)) == (255, 20)
    without = poster.draw_poster(content, None, (64, 48))
    assert without.shape == (48, 64, 3) and (without < 255).any(), "the cameras are there"


def test_the_poster_is_served_and_software_gets_fewer_points(released: Path) -> None:
    pytest.importorskip("viser", reason="viser is not installed")
    from walkaround.viewer.session import open_session

    with open_session(released / "0" / "0a00b1", port=0) as session:
        with urllib.request.urlopen(
            f"{session.address}api/poster?width=90000&height=50", timeout=20
        ) as reply:
            image = cv2.imdecode(np.frombuffer(reply.read(), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.shape == (50, poster.MAX_PX, 3)
        for body, budget in ((b'{"software": false}', 1_000_000), (b'{"software": true}', 1_000_000)):
            request = urllib.request.Request(f"{session.address}api/draws", data=body, method="POST")
            assert json.load(urllib.request.urlopen(request, timeout=20)) == {"budget": budget}
    with open_session(released / "0" / "0a00b1", port=0) as session:
        request = urllib.request.Request(
            f"{session.address}api/draws", data=b'{"software":true}', method="POST"
        )
        assert json.load(urllib.request.urlopen(request, timeout=20)) == {"budget": 180_000}


# --- two frames ---


def test_a_pixel_lies_on_its_epipolar_curve(released: Path) -> None:
    """With lens distortion too, where the curve is not straight."""
    camera = Camera(
        model="OPENCV", width=96, height=72, params=(90.0, 95.0, 50.0, 35.0, -0.2, 0.05, 0.01, 0.0)
    )
    first, second = (
        View(frame=VIEWS[n].frame, camera=camera, cam_from_world=VIEWS[n].cam_from_world) for n in (0, 2)
    )
    point = np.array([0.05, -0.1, 0.07])
    seen = [project(camera, transform_points(v.cam_from_world, point)) for v in (first, second)]
    curve = pairs.epipolar_curve(first, second, seen[0], np.zeros(3))
    steps = np.linspace(curve[:-1], curve[1:], 50).reshape(-1, 2)
    assert np.linalg.norm(steps - seen[1], axis=1).min() < 0.05
    assert pairs.residuals(first, second, seen[0][None], seen[1][None])[0] == pytest.approx(0, abs=1e-6)
    off = pairs.residuals(first, second, seen[0][None], seen[1][None] + 3.0)[0]
    assert 0.5 < off < 5


def test_what_two_frames_share(released: Path) -> None:
    content = Content(open_scene(released / "0" / "0a00b1"))
    one, other = content.views[0], content.views[1]
    found = pairs.match(one, other, content.observations, content.around.centre)
    assert len(found.first_px) == 50  # of the fake model, every camera sees every point
    assert found.residual_px.max() < 1e-3
    assert 20 < found.angle_deg < 30
    assert pairs.good_partner("001.jpg", content.observations) not in (None, "001.jpg")
    assert pairs.good_partner("010.jpg", content.observations) is None
    alone = pairs.match(one, other, {}, content.around.centre)
    assert len(alone.first_px) == 0


def test_answers_about_a_pair(released: Path) -> None:
    content = Content(open_scene(released / "0" / "0a00b1"))
    answered = json.loads(answers.describe_pair(content, {"a": "001.jpg"}).body)
    assert answered["num_matches"] == 50 and answered["b"] != "001.jpg"
    query = {"a": "001.jpg", "b": "002.jpg", "x": "40", "y": "30"}
    assert len(json.loads(answers.send_curve(content, query).body)) > 10
    without = json.loads(answers.describe_pair(content, {"a": "001.jpg", "b": "010.jpg"}).body)
    assert without["matches"] == [] and "angle_deg" not in without and without["size_b"] == [96, 72]
    image = answers.send_image(content, {"image": "001.jpg", "mask": "1"})
    assert image.content_type == "image/jpeg" and image.body[:2] == b"\xff\xd8"
    for wrong in ({"a": "../../x"}, {"a": "001.jpg", "b": "x"}):
        with pytest.raises(UsageError, match="is no frame"):
            answers.describe_pair(content, wrong)
    with pytest.raises(UsageError, match="is no number"):
        answers.send_curve(content, {**query, "x": "nan"})
    with pytest.raises(UsageError, match="has no camera"):
        answers.send_curve(content, {**query, "b": "010.jpg"})


# --- two scenes beside each other ---


def eye_at(*position: float) -> link.Eye:
    return link.Eye(position=np.array(position), look_at=np.zeros(3), up=np.array([0.0, 0.0, 1.0]), fov=0.8)


def test_two_builds_of_one_capture_are_seen_from_one_place() -> None:
    one, other = world.surroundings(VIEWS, {}), world.surroundings(VIEWS[2:], {})
    carried = link.carried_over(eye_at(1, 2, 3), one, other)
    np.testing.assert_allclose(carried.position, [1, 2, 3], rtol=1e-6)


def test_an_eye_is_carried_into_another_world() -> None:
    """A released scene may be turned, shifted and scaled: the eye sees it from the same side."""
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    scale, shift = 7.0, np.array([3.0, -1.0, 2.0])
    moved = []
    for view in VIEWS:
        pose = np.eye(4)
        pose[:3, :3] = view.cam_from_world[:3, :3] @ turn.T
        pose[:3, 3] = scale * view.cam_from_world[:3, 3] - pose[:3, :3] @ shift
        moved.append(View(frame=view.frame, camera=view.camera, cam_from_world=pose))
    source, target = world.surroundings(VIEWS, None), world.surroundings(moved, None)
    carried = link.carried_over(eye_at(0.3, -1.2, 0.7), source, target)
    np.testing.assert_allclose(carried.position, scale * turn @ [0.3, -1.2, 0.7] + shift, atol=1e-6)
    np.testing.assert_allclose(carried.look_at, shift, atol=1e-6)
    np.testing.assert_allclose(carried.up, turn[:, 2], atol=1e-6)
    back = link.carried_over(carried, target, source)
    np.testing.assert_allclose(back.position, [0.3, -1.2, 0.7], atol=1e-6)


def test_two_begin_at_the_side_of_the_first_and_fit_the_narrower() -> None:
    """Also of upright worlds, whose cameras stand elsewhere."""
    arc = VIEWS[:4]
    first, second = world.surroundings(arc, {}), world.surroundings(VIEWS[5:], {})
    eyes = []
    for around, aspect in ((first, 0.7), (second, 1.6)):
        camera = SimpleNamespace(aspect=aspect)
        client = SimpleNamespace(camera=camera, atomic=contextlib.nullcontext)
        flight.look_at_all(client, around, leader=first, aspect=0.7)
        eyes.append(camera)
    np.testing.assert_allclose(eyes[0].position, flight.home_position(first, 0.7))
    np.testing.assert_allclose(eyes[1].position / second.radius, eyes[0].position / first.radius, atol=1e-9)
    alone = SimpleNamespace(camera=SimpleNamespace(aspect=1.6), atomic=contextlib.nullcontext)
    flight.look_at_all(alone, second)
    assert np.linalg.norm(alone.camera.position - eyes[1].position) > 0.5 * second.radius


def test_an_echo_is_no_move() -> None:
    now = [0.0]
    leadership = link.Leadership(lambda: now[0])
    assert leadership.moves(0)
    now[0] = 0.3
    assert not leadership.moves(1)
    assert leadership.moves(0)  # and leads on
    now[0] = 0.7
    assert not leadership.moves(1)
    now[0] = 0.9
    assert leadership.moves(1)
    assert not leadership.moves(0)


def test_other_machines_get_a_name_and_a_token(released: Path) -> None:
    pytest.importorskip("viser", reason="viser is not installed")
    from walkaround.viewer.session import open_session

    with open_session(released / "0" / "0a00b1", host="0.0.0.0", port=0) as session:
        assert session.token and session.address.endswith(f"?token={session.token}")
        assert session.address.startswith(f"http://{socket.gethostname()}:")
        assert ask(session.gateway.port, "/api/scene")[0] == 401
        assert (
            ask(
                session.gateway.port,
                "/api/scene",
                Cookie=f"walkaround_token_{session.gateway.port}={session.token}",
            )[0]
            == 200
        )


def test_a_session_of_two(released: Path) -> None:
    pytest.importorskip("viser", reason="viser is not installed")
    from walkaround.viewer.session import open_session

    with open_session(released / "0" / "0a00b1", compare=released / "0" / "0a00b2", port=0) as session:
        with urllib.request.urlopen(f"{session.address}api/compare", timeout=20) as reply:
            assert json.load(reply) == {"title": "0 / 0a00b2", "key": "0/0a00b2"}
        with urllib.request.urlopen(f"{session.address}3d-b/", timeout=20) as reply:
            assert b"<!doctype html>" in reply.read(200).lower()
        assert session.other is not None and session.other.address != session.window.address
        assert session.window.on_eye is not None
        assert session.window.beside is session.other and session.other.beside is session.window
        assert session.window.leads and not session.other.leads
        session.compare(None)
        assert session.window.on_eye is None and session.window.beside is None


def test_the_command_serves_until_it_is_interrupted(released: Path) -> None:
    """Its stdout is the address and nothing else."""
    pytest.importorskip("viser", reason="viser is not installed")
    command = [sys.executable, "-m", "walkaround", "view", str(released / "0" / "0a00b1"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}api/scene", timeout=20) as reply:
            assert json.load(reply)["key"] == "0/0a00b1"
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert rest == ""
    assert "Ctrl-C" in said and "Traceback" not in said
