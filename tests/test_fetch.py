"""Inputs that lie elsewhere: URLs that stall, lie and break off; folders; nothing left behind."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests import clips
from walkaround.errors import InputError, OutputError, UsageError
from walkaround.io import fetch as fetching
from walkaround.io.fetch import FetchLimits, fetch, shown
from walkaround.io.image import encode_jpeg
from walkaround.io.locks import locked

LIMITS = FetchLimits(max_size_mb=1.0, timeout_s=5.0)
DATA = b"x" * 300_000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves what a path asks for; each path counts its requests."""

    requests: dict[str, int]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        count = self.requests[path] = self.requests.get(path, 0) + 1
        if path == "/flaky.mp4" and count < 3:
            self.send_error(503)
        elif path == "/gone.mp4":
            self.send_error(404)
        elif path == "/to_file.mp4":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
        elif path == "/to_ftp.mp4":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/x")
            self.end_headers()
        else:
            self.send_response(200)
            if path != "/endless.mp4":
                self.send_header("Content-Length", "99999999" if path == "/large.mp4" else str(len(DATA)))
            self.end_headers()
            self._send(path, count)

    def _send(self, path: str, count: int) -> None:
        cut = path == "/cut.mp4" or (path == "/cut_once.mp4" and count == 1)
        try:
            self.wfile.write(DATA[:1000] if cut else DATA)
            while path == "/endless.mp4":
                self.wfile.write(DATA)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, int]]]:
    requests: dict[str, int] = {}
    handler = type("Counting", (Handler,), {"requests": requests})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=functools.partial(running.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", requests
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_PAUSE_S", 0.0)


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_local_paths_are_left_alone(tmp_path: Path) -> None:
    video, scratch = tmp_path / "a b.mp4", tmp_path / "scratch"
    video.write_bytes(DATA)
    for source in (str(video), video.as_uri(), str(tmp_path), str(tmp_path / "missing.mp4")):
        with fetch(source, scratch, limits=LIMITS) as local:
            assert local == (video if source == video.as_uri() else Path(source))
    assert not scratch.exists()


@pytest.mark.parametrize(
    "name", ["plain.mp4", "plain.mp4?key=secret", "flaky.mp4", "cut_once.mp4", "no_suffix"]
)
def test_http(server: tuple[str, dict[str, int]], tmp_path: Path, name: str) -> None:
    with fetch(f"{server[0]}/{name}", tmp_path / "scratch", limits=LIMITS) as local:
        assert local.read_bytes() == DATA and local.suffix == ("" if name == "no_suffix" else ".mp4")
        assert local.stem == "source" and [path.name for path in local.parent.iterdir()] == [local.name]
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(
    ("name", "message", "tries"),
    [
        ("gone.mp4", "HTTP status 404", 1),
        ("cut.mp4", r"after 4 tries .*(cut off after 1000 of 300000 bytes|IncompleteRead)", 4),
        ("large.mp4", r"larger than 1 MB.*--capture\.max-size-mb", 1),
        ("endless.mp4", "larger than 1 MB", 1),
        ("to_file.mp4", "HTTP status 302", 1),
        ("to_ftp.mp4", "unknown url type|cannot be fetched", None),
        ("folder/", "http cannot list", 0),
    ],
)
def test_http_that_fails(
    server: tuple[str, dict[str, int]], tmp_path: Path, name: str, message: str, tries: int | None
) -> None:
    url = f"{server[0]}/{name}" + ("" if name.endswith("/") else "?token=secret")
    with pytest.raises(InputError, match=message) as caught, fetch(url, tmp_path / "s", limits=LIMITS):
        pass
    assert "secret" not in str(caught.value) and caught.value.__cause__ is None
    assert tries is None or sum(server[1].values()) == tries
    assert not (tmp_path / "s").exists()


def test_nobody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with (
        pytest.raises(InputError, match=r"after 4 tries .*refused"),
        fetch("http://127.0.0.1:9/v.mp4?secret", tmp_path / "s", limits=LIMITS),
    ):
        pass
    assert len(caplog.records) == 3 and "secret" not in caplog.text


def test_a_file_of_a_store(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/bucket/Clip of Ann.MOV", DATA)
    with fetch("memory://bucket/Clip of Ann.MOV", tmp_path / "s", limits=LIMITS) as local:
        assert local.read_bytes() == DATA and local.name == "source.mov"
    with (
        pytest.raises(InputError, match="cannot be fetched"),
        fetch("memory://bucket/nothing.mp4", tmp_path / "s", limits=LIMITS),
    ):
        pass
    memory.pipe("/bucket/big.mp4", DATA * 4)
    with (
        pytest.raises(InputError, match="larger than 1 MB"),
        fetch("memory://bucket/big.mp4", tmp_path / "s", limits=LIMITS),
    ):
        pass
    assert not (tmp_path / "s").exists()


def test_a_folder_of_a_store_in_the_order_of_names(memory: Any, tmp_path: Path) -> None:
    photos = {f"IMG_{number}.jpg": encode_jpeg(clips.texture(48, 64, seed=number)) for number in (10, 9, 1)}
    for name, data in photos.items():
        memory.pipe(f"/bucket/set/{name}", data)
    memory.pipe("/bucket/set/notes.txt", b"x")
    memory.pipe("/bucket/set/.hidden.jpg", b"x")
    with fetch("memory://bucket/set/", tmp_path / "s", limits=LIMITS) as local:
        found = sorted(local.iterdir())
        assert [path.name for path in found] == ["00001.jpg", "00002.jpg", "00003.jpg"]
        assert [path.read_bytes() for path in found] == [photos[f"IMG_{n}.jpg"] for n in (1, 9, 10)]
    few = dataclasses.replace(LIMITS, max_files=4)
    with (
        pytest.raises(InputError, match="5 files; at most 4"),
        fetch("memory://bucket/set/", tmp_path, limits=few),
    ):
        pass
    memory.pipe("/bucket/empty/x.txt", b"x")
    with (
        pytest.raises(InputError, match="no photos"),
        fetch("memory://bucket/empty/", tmp_path, limits=LIMITS),
    ):
        pass


def test_the_size_limit_is_of_all_photos_together(memory: Any, tmp_path: Path) -> None:
    for number in range(5):
        memory.pipe(f"/bucket/set/{number}.jpg", DATA)
    with (
        pytest.raises(InputError, match="larger than 1 MB"),
        fetch("memory://bucket/set/", tmp_path / "s", limits=LIMITS),
    ):
        pass


@pytest.mark.parametrize(
    "url",
    [
        "git://x/y.mp4",
        "reference://x",
        "zip://a::http://b",
        "http://a::file://b",
        "python://x",
        "dask://x/y",
        "://x",
    ],
)
def test_only_known_protocols(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use a local path or a URL"), fetch(url, tmp_path, limits=LIMITS):
        pass


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pip install s3fs"), fetch("s3://b/v.mp4", tmp_path, limits=LIMITS):
        pass


def test_scratch_of_a_killed_run_goes(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/bucket/v.mp4", DATA)
    with fetch("memory://bucket/v.mp4", tmp_path / "s", limits=LIMITS) as local:
        folder = local.parent
    folder.mkdir(parents=True)
    (folder / "source.mp4").write_bytes(b"half")
    (folder / "other").mkdir()
    with fetch("memory://bucket/v.mp4", tmp_path / "s", limits=LIMITS) as local:
        assert local.read_bytes() == DATA and not (folder / "other").exists()
        with pytest.raises(OutputError), locked(folder.with_suffix(".lock"), wait=False, message="in use"):
            pass
    assert not folder.parent.exists()


def test_a_password_goes_nowhere(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="signed") as caught,
        fetch("https://me:secret@host/v.mp4", tmp_path, limits=LIMITS),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_a_full_disk_is_no_matter_of_the_network(memory: Any, tmp_path: Path) -> None:
    memory.pipe("/bucket/v.mp4", DATA)
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(OutputError, match="is a file, not a folder"),
        fetch("memory://bucket/v.mp4", tmp_path / "file" / "scratch", limits=LIMITS),
    ):
        pass


def test_what_is_shown_of_a_url() -> None:
    assert shown("s3://key:secret@bucket/a/b.mp4?sig=1#x") == "s3://bucket/a/b.mp4"
    assert shown("/a/b?c.mp4") == "/a/b?c.mp4"
