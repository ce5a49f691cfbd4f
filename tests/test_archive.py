"""Archives of photos: the same sequence as their folder, and nothing that a hostile one wants."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import clips, isolated_tasks
from walkaround.capture import CaptureOptions, inspect_capture
from walkaround.errors import InputError, ProcessDied, WalkaroundError
from walkaround.io.archive import ArchiveLimits, archive_kind, extract_photos
from walkaround.io.fetch import FetchLimits, fetch
from walkaround.io.image import encode_jpeg
from walkaround.runners.build import build_isolated

LIMITS = ArchiveLimits(max_members=50, max_unpacked_mb=105.0, max_ratio=50.0)
PHOTOS = {
    name: encode_jpeg(clips.texture(48, 64, seed=number))
    for number, name in enumerate(["IMG_10.JPG", "IMG_9.jpg", "b.png.jpeg", "IMG_1.jpg"])
}
Pack = Callable[[Path, dict[str, bytes]], Path]


def pack_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return path


def tar_bytes(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def pack_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(tar_bytes(files))
    return path


PACKERS: dict[str, Pack] = {
    "zip": pack_zip,
    "tar": pack_tar,
    "gzip": lambda path, files: path.write_bytes(gzip.compress(tar_bytes(files))) and path,
    "bzip2": lambda path, files: path.write_bytes(bz2.compress(tar_bytes(files))) and path,
    "xz": lambda path, files: path.write_bytes(lzma.compress(tar_bytes(files))) and path,
}


def refused(path: Path, tmp_path: Path, match: str) -> None:
    """Extract into a folder; check that it is refused and that nothing lies outside."""
    folder = tmp_path / "deep" / "in" / "there"
    folder.mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if folder not in path.parents}
    with pytest.raises(InputError, match=match):
        extract_photos(path, folder, limits=LIMITS)
    assert {path for path in tmp_path.rglob("*") if folder not in path.parents} == before
    assert all(path.is_file() and not path.is_symlink() for path in folder.iterdir())
    assert sum(path.stat().st_size for path in folder.iterdir()) < 160e6


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("top", ["", "Ann's photos/"])
def test_the_same_capture_as_the_folder(kind: str, top: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in PHOTOS.items():
        (folder / name).write_bytes(data)
    extras = {"read me.txt": b"x", f"{top}.hidden.jpg": b"x", f"__MACOSX/{top}IMG_1.jpg": b"x", "sub/": b""}
    path = PACKERS[kind](tmp_path / "photos.bin", {**extras, **{top + name: PHOTOS[name] for name in PHOTOS}})
    assert archive_kind(path) == kind
    expected = inspect_capture(folder, options=CaptureOptions())
    with fetch(str(path), tmp_path / "scratch", limits=FetchLimits()) as local:
        found = inspect_capture(local, options=CaptureOptions())
        assert found.sha256 == expected.sha256 and found.codec == expected.codec and found.num_frames == 4
        assert [p.read_bytes() for p in found.photo_paths] == [p.read_bytes() for p in expected.photo_paths]
        assert [p.name for p in found.photo_paths] == ["00001.jpeg", "00002.jpg", "00003.jpg", "00004.jpg"]
    assert not (tmp_path / "scratch").exists()


def test_videos_and_folders_are_no_archives(tmp_path: Path) -> None:
    video = clips.write_video(tmp_path / "a.mp4", clips.walk(2))
    assert (
        archive_kind(video) is None
        and archive_kind(tmp_path) is None
        and archive_kind(tmp_path / "x") is None
    )


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "name",
    ["../../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "..\\..\\evil.jpg", "C:\\evil.jpg", "\\evil.jpg"],
)
def test_names_that_leave_the_folder(kind: str, name: str, tmp_path: Path) -> None:
    path = PACKERS[kind](tmp_path / "a", {**PHOTOS, name: PHOTOS["IMG_1.jpg"]})
    refused(path, tmp_path, "leaves the folder")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
@pytest.mark.parametrize("target", ["/etc/passwd", "../../../x"])
def test_links_and_devices_of_a_tar(kind: bytes, target: str, tmp_path: Path) -> None:
    info = tarfile.TarInfo("evil.jpg")
    info.type, info.linkname, info.devmajor, info.devminor = kind, target, 1, 5
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        packed.addfile(info)
    refused(tmp_path / "a.tar", tmp_path, "a link, a device or a sparse file")


def test_a_symlink_of_a_zip(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("evil.jpg")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", tmp_path, "is a link or a device")


def test_a_link_and_then_a_file_through_it(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        link = tarfile.TarInfo("dir")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        packed.addfile(link)
        inside = tarfile.TarInfo("dir/evil.jpg")
        inside.size = 4
        packed.addfile(inside, io.BytesIO(b"evil"))
    refused(tmp_path / "a.tar", tmp_path, "a link")


@pytest.mark.parametrize("kind", PACKERS)
def test_bombs_by_size(kind: str, tmp_path: Path) -> None:
    """110 MB of zeros; in the tars as a file that is no photo, too, since it must be unpacked to pass it."""
    zeros = bytes(110_000_000)
    name = "a.jpg" if kind in ("zip", "tar") else "a.txt"
    refused(PACKERS[kind](tmp_path / "a", {name: zeros, "b.jpg": b"x"}), tmp_path, "unpacks to more than")


def test_bombs_by_ratio(tmp_path: Path) -> None:
    refused(pack_zip(tmp_path / "a", {"a.jpg": bytes(102_000_000)}), tmp_path, "50 times its size")


@pytest.mark.parametrize("kind", PACKERS)
def test_bombs_by_number(kind: str, tmp_path: Path) -> None:
    path = PACKERS[kind](tmp_path / "a", {f"{number}.txt": b"" for number in range(51)})
    refused(path, tmp_path, "more than 50 files")


def test_a_zip_that_lies_about_sizes(tmp_path: Path) -> None:
    """The directory says 10 bytes, the stream has 50 MB: read is what was said, and its sum is wrong."""
    path = pack_zip(tmp_path / "a.zip", {"a.jpg": bytes(50_000_000)})
    data = path.read_bytes()
    at = data.rfind(b"PK\x01\x02")
    path.write_bytes(data[: at + 24] + struct.pack("<I", 10) + data[at + 28 :])
    refused(path, tmp_path, "damaged")


def test_members_that_overlap(tmp_path: Path) -> None:
    """Many names for one stream (Fifield, 2019): each counts in full."""
    stream = zlib.compressobj(9, wbits=-15)
    zeros = bytes(20_000_000)
    packed = stream.compress(zeros) + stream.flush()
    crc, directory = zlib.crc32(zeros), b""
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(packed), len(zeros), 5, 0) + b"0.jpg"
    for number in range(9):
        head = struct.pack("<4s6H3I", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(packed), len(zeros))
        directory += head + struct.pack("<5H2I", 5, 0, 0, 0, 0, 0, 0) + b"%d.jpg" % number
    body = local + packed
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 9, 9, len(directory), len(body), 0)
    (tmp_path / "a.zip").write_bytes(body + directory + end)
    refused(tmp_path / "a.zip", tmp_path, "damaged|unpacks to more")


def test_an_endless_directory(tmp_path: Path) -> None:
    path = pack_zip(tmp_path / "a.zip", PHOTOS)
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = b"\xff\xff\xff\x7f"
    path.write_bytes(data)
    refused(path, tmp_path, "its list of files is too long")


def test_a_tar_with_a_giant_header(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 80_000_000
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(80_000_512))
    refused(tmp_path / "a.tar", tmp_path, "a header of 80000000 bytes")


def test_encrypted(tmp_path: Path) -> None:
    path = pack_zip(tmp_path / "a.zip", PHOTOS)
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(magic)
        data[at + offset] |= 1
    path.write_bytes(data)
    refused(path, tmp_path, "it is encrypted")


def test_unknown_method_and_cut_off(tmp_path: Path) -> None:
    data = bytearray(pack_zip(tmp_path / "a.zip", PHOTOS).read_bytes())
    data[data.rfind(b"PK\x01\x02") + 10] = 9  # Deflate64
    (tmp_path / "b.zip").write_bytes(data)
    refused(tmp_path / "b.zip", tmp_path / "1", "damaged or packed in an unknown way")
    for number, pack in enumerate(PACKERS.values()):
        whole = pack(tmp_path / "c", PHOTOS).read_bytes()
        (tmp_path / "c").write_bytes(whole[: len(whole) // 2])
        refused(tmp_path / "c", tmp_path / f"2{number}", "damaged")


def test_odd_names(tmp_path: Path) -> None:
    """Long, empty, control characters, bytes that are no UTF-8: none of them becomes a name here."""
    with tarfile.open(tmp_path / "a.tar", "w", encoding="utf-8", errors="surrogateescape") as packed:
        for name in ("x" * 300 + ".jpg", "\udcff\udcfe.jpg", "a\nb\x1b[31m.jpg", "aux.jpg", "-rf.jpg"):
            info = tarfile.TarInfo(name)
            info.size = len(PHOTOS["IMG_1.jpg"])
            packed.addfile(info, io.BytesIO(PHOTOS["IMG_1.jpg"]))
    (tmp_path / "out").mkdir()
    assert extract_photos(tmp_path / "a.tar", tmp_path / "out", limits=LIMITS) == 5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"0000{n}.jpg" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"a.txt": b"x"}, "holds no photos"),
        ({"a/1.jpg": b"x", "b/1.jpg": b"y"}, r"photos in 2 folders: 'a' \(1\), 'b' \(1\)"),
    ],
)
def test_archives_of_something_else(files: dict[str, bytes], match: str, tmp_path: Path) -> None:
    refused(pack_zip(tmp_path / "a.zip", files), tmp_path, match)


def test_the_same_name_twice(tmp_path: Path) -> None:
    path = pack_tar(tmp_path / "a.tar", {"1.jpg": b"x"})
    path.write_bytes(path.read_bytes()[:1024] + path.read_bytes())
    refused(path, tmp_path, "holds '1.jpg' 2 times")


@pytest.mark.parametrize("kind", PACKERS)
def test_damaged_at_random(kind: str, tmp_path: Path) -> None:
    """Whatever is overwritten: photos come out, or one of our errors."""
    whole = PACKERS[kind](tmp_path / "a", PHOTOS).read_bytes()
    rng = random.Random(0)
    for number in range(40):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "b").write_bytes(data)
        folder = tmp_path / f"out{number}"
        folder.mkdir()
        try:
            extract_photos(tmp_path / "b", folder, limits=LIMITS)
        except WalkaroundError:
            continue


def test_a_build_that_dies_leaves_no_photo_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkaround.runners.build.build_sequence", isolated_tasks.abort_while_unpacked)
    path, root = pack_zip(tmp_path / "a.zip", PHOTOS), tmp_path / "root"
    root.mkdir()
    with pytest.raises(ProcessDied, match="SIGABRT"):
        build_isolated(path, root)
    assert (root / "seen").read_text() == "4"
    assert not list((root / ".work").glob("*")) and not list(root.rglob("*.jpg"))
