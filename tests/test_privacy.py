"""Nothing of a collector survives: every byte of every output is searched, packed ones unpacked."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import shutil
import struct
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import duckdb
import pytest

from tests import private_captures as private
from walkaround.cameras.options import CamerasOptions
from walkaround.dataset.manifest import read_captures
from walkaround.errors import WalkaroundError
from walkaround.frames.options import FramesOptions
from walkaround.pipeline import BuildOptions, build_sequence
from walkaround.runners.batch import BatchOptions, build_batch
from walkaround.simulate import simulate_capture
from walkaround.simulate.options import SimulateOptions
from walkaround.types import ByteArray

OPTIONS = BuildOptions(
    class_label="mug",
    threads=2,
    cameras=CamerasOptions(max_attempts=1),
    frames=FramesOptions(num_frames=12),
)


def secrets(*texts: str) -> dict[str, list[bytes]]:
    """Return what must not be found: each text in many encodings, places as EXIF writes them, raw bytes."""
    words = {**private.TEXTS, "name": private.PERSON, **{f"text {text}": text for text in texts}}
    words |= {f"name {part}": part for part in private.PERSON.split()}
    found = {name: list(encodings(text)) for name, text in words.items()}
    for name, place in zip(("latitude", "longitude"), private.GPS, strict=True):
        number, scale = place[2]
        degrees = place[0][0] + place[1][0] / 60 + number / scale / 3600
        found[name] = [struct.pack(f"{order}II", number, scale) for order in "<>"]
        found[name] += [f"{degrees:.4f}"[:-1].encode(), f"{number}/{scale}".encode()]
    found["marker"] = [private.MARKER, private.MARKER[:8], private.thumbnail()[-64:]]
    return found


def encodings(text: str) -> Iterator[bytes]:
    yield text.encode()
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")
    yield text.encode("latin-1", "replace")
    yield json.dumps(text)[1:-1].encode()
    yield urllib.parse.quote(text).encode()
    yield text.encode().hex().encode()
    for shift in range(3):  # base64 at each alignment, without what depends on the neighbours
        yield base64.b64encode(b"?" * shift + text.encode())[2 * bool(shift) + shift // 2 : -4]


def unpacked(data: bytes, name: str) -> Iterator[bytes]:
    """Yield what a file holds: its bytes, and what is packed in them."""
    yield data
    if data[:4] == b"PAR1":
        rows = duckdb.sql(f"SELECT * FROM read_parquet('{name}')").fetchall()
        yield repr(rows).encode()
        yield repr(duckdb.sql(f"SELECT * FROM parquet_kv_metadata('{name}')").fetchall()).encode()
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        chunks = list(png_chunks(data))
        assert {kind for kind, _ in chunks} <= {b"IHDR", b"IDAT", b"IEND", b"PLTE"}, f"{name}: {chunks}"
        yield zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    if data[:2] == b"\xff\xd8":
        markers = [data[at + 1] for at in jpeg_segments(data)]
        assert set(markers) <= {0xE0, 0xDB, 0xC0, 0xC4, 0xDA}, f"{name}: {[hex(m) for m in markers]}"
    for found in re.finditer(rb"base64,([A-Za-z0-9+/=]{40,})", data):
        yield from unpacked(base64.b64decode(found[1]), name)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += 12 + size


def jpeg_segments(data: bytes) -> Iterator[int]:
    at = 2
    while data[at] == 0xFF and data[at + 1] != 0xD9:
        yield at
        if data[at + 1] == 0xDA:
            return
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def search(root: Path, wanted: dict[str, list[bytes]]) -> int:
    """Fail when a secret is in any file or name under ``root``; return the number of files searched.

    What a running build has unpacked of its input (``.work/fetch-...``) is that input.
    """
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and "fetch-" not in str(path)]
    for path in files:
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # scratch of a running stage
            continue
        contents = [*unpacked(data, str(path)), str(path.relative_to(root)).encode()]
        for content in contents:
            low = content.lower()
            for name, patterns in wanted.items():
                for pattern in patterns:
                    assert pattern.lower() not in low, f"{path} holds {name}: {pattern!r}"
    return len(files)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[ByteArray]:
    folder = tmp_path_factory.mktemp("simulated")
    simulate_capture(folder / "s", options=SimulateOptions(size=(320, 240), num_frames=12))
    paths = sorted((folder / "s" / "images").glob("*.png"))
    return [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]


def make_source(kind: str, folder: Path, images: list[ByteArray]) -> Path:
    if kind == "video":
        return private.write_video(folder / f"{private.PERSON}.mov", images)
    photos = private.write_photos(folder / f"Fotos {private.PERSON}", images)
    if kind == "photos":
        return photos
    with zipfile.ZipFile(folder / f"{private.PERSON}.zip", "w") as packed:
        packed.comment = private.PERSON.encode()
        for path in photos.iterdir():
            packed.write(path, f"{private.PERSON}/{path.name}")
    return folder / f"{private.PERSON}.zip"


def test_the_search_finds_what_is_there(tmp_path: Path, images: list[ByteArray]) -> None:
    """Every secret is in the captures, so that not finding it later means something."""
    sources = [make_source(kind, tmp_path / kind, images[:3]) for kind in ("video", "photos")]
    inside = b"".join(path.read_bytes() for path in [sources[0], *sorted(sources[1].iterdir())])
    inside += b"".join(
        zlib.decompress(found[1]) for found in re.finditer(rb"Comment\0\0(x.{20,60})", inside, re.S)
    )
    for name, patterns in secrets().items():
        names = "".join(str(path) for path in tmp_path.rglob("*")).encode()
        assert any(pattern in inside + names for pattern in patterns), name
    (tmp_path / "out").mkdir()
    packed = base64.b64encode(b"?" + private.TEXTS["xmp"].encode())
    (tmp_path / "out" / "report.html").write_bytes(b"data:image/x;base64," + packed)
    with pytest.raises(AssertionError, match="holds xmp"):
        search(tmp_path / "out", secrets())


@pytest.mark.parametrize("kind", ["photos", "video", "archive"])
def test_no_byte_of_it_survives(kind: str, tmp_path: Path, images: list[ByteArray]) -> None:
    """Also while the build runs: the scratch files are searched in the middle of every stage."""
    options = OPTIONS
    if kind == "archive":  # the same photos: as far as the frames
        options = dataclasses.replace(OPTIONS, frames=FramesOptions(long_side_px=64))
    source = make_source(kind, tmp_path / "captures", images)
    root = tmp_path / "Rootfolder-Kesselflick"
    wanted = secrets("Rootfolder-Kesselflick", str(tmp_path))
    searched: dict[str, int] = {}

    def watch(stage: str, share: float) -> None:
        if share > 0.4 and stage not in searched:
            searched[stage] = search(root / ".work", wanted)

    record = build_sequence(source, root, options=options, progress=watch)
    assert record.source.kind == ("video" if kind == "video" else "photos")
    assert kind == "archive" or {"frames", "cameras", "depth", "masks", "cloud", "quality"} <= set(
        record.stages
    )
    assert search(root, wanted) > (5 if kind == "archive" else 40) and max(searched.values()) > 0
    assert not (root / ".work").exists()
    text = json.dumps(dataclasses.asdict(record))
    assert not [
        name for name, patterns in wanted.items() if any(p.decode("latin-1") in text for p in patterns)
    ]


def test_rejected_and_damaged_captures(tmp_path: Path, images: list[ByteArray]) -> None:
    """What is said about them goes into the record, too: damaged photos, a standing scene."""
    standing = [images[0].copy() for _ in range(9)]
    for number, image in enumerate(standing):
        image[:8, :8] = 20 * number  # no copies, which would count once
    source = private.write_photos(tmp_path / f"Fotos {private.PERSON}", standing)
    (source / f"{private.PERSON} 2.JPG").write_bytes(private.jpeg(images[0])[:4000])
    root = tmp_path / "root"
    record = build_sequence(source, root, options=OPTIONS)
    assert record.status == "rejected" and "1 of 9 photos could not be read" in record.warnings[0]
    assert search(root, secrets(str(tmp_path))) > 8
    with pytest.raises(WalkaroundError):
        build_sequence(source / f"{private.PERSON} 2.JPG", root, options=OPTIONS)
    search(root, secrets(str(tmp_path)))


def test_a_batch_and_its_logs(tmp_path: Path, images: list[ByteArray]) -> None:
    """The journal, the logs of processes that died and the catalogue know captures by their keys."""
    folder = tmp_path / f"Sammlung {private.PERSON}" / "mug"
    still = private.write_video(folder / f"{private.PERSON} 1.mov", [images[0]] * 9)
    (folder / f"{private.PERSON} 2.mov").write_bytes(still.read_bytes()[:3000])
    make_source("archive", folder / "x", [images[0]] * 9).rename(folder / f"{private.PERSON} 3.zip")
    shutil.rmtree(folder / "x")
    root, wanted = tmp_path / "root", secrets(str(tmp_path))
    entries = read_captures(folder.parent)
    assert len(entries) == 3
    result = build_batch(entries, root, options=BatchOptions(workers=1), build=OPTIONS)
    assert (result.snapshot.rejected, result.snapshot.failed) == (3, 0)
    assert search(root, wanted) > 6
    limits = BatchOptions(workers=1, time_limit_s=0.05, retries=0)
    again = dataclasses.replace(OPTIONS, seed=1)
    assert build_batch(entries, root, options=limits, build=again).snapshot.failed == 3
    logs = [path for path in (root / ".work").rglob("*") if path.is_file()]
    assert len(logs) > 3 and search(root, wanted) > 6
