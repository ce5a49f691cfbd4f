"""What the fuzzers feed: a reader for each kind of file, and small valid files to start from."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests import clips, fakes, test_archive
from tests.test_pointcloud_kinds import pcd, pcl_table
from walkaround.capture import CaptureOptions, inspect_capture
from walkaround.dataset.catalog import rebuild_catalog
from walkaround.dataset.classes import load_class_table
from walkaround.dataset.description import update_description
from walkaround.dataset.exchange.formats import read_given
from walkaround.dataset.exchange.options import ImportOptions
from walkaround.dataset.manifest import read_captures
from walkaround.dataset.rows import read_catalog
from walkaround.dataset.schema import FrameRecord, SequenceRecord, SourceRecord, record_to_dict
from walkaround.frames import FramesOptions, extract_frames
from walkaround.io.archive import ArchiveLimits, extract_photos
from walkaround.io.colmap import read_sparse_model, write_sparse_model
from walkaround.io.depth import read_depth
from walkaround.io.image import encode_jpeg, read_image
from walkaround.io.pointcloud import read_cloud, write_pcd, write_ply
from walkaround.io.video import VideoReader, probe_video
from walkaround.quality.report import write_report
from walkaround.quality.truth import read_truth
from walkaround.runners.journal import read_histories
from walkaround.runners.progress import Running, Snapshot, plain, read_snapshot

CAMPAIGN = int(os.environ.get("WALKAROUND_FUZZ_CASES", "0"))
"""Cases of a long run; 0 for the short one, which takes small files only."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of file."""

    seeds: Callable[[Path], dict[str, bytes]]
    """Makes valid files in a scratch folder: name -> bytes. A name with ``/`` has the rest beside it."""
    read: Callable[[Path, Path], None]
    """Reads a file; may write into the second path, ROOT, and only there."""
    is_text: bool = False


def _videos(folder: Path) -> dict[str, bytes]:
    images = clips.walk(6, height=48, width=64)
    names = ["a.mp4", "a.mov", "a.mkv", "a.avi", "a.ts", "a.flv", "a.h264"]
    files = {name: clips.write_video(folder / name, images).read_bytes() for name in names}
    turned = clips.write_video(
        folder / "turned.mp4", images, rotation=(90, True), times=[0, 0.1, 0.3, 0.4, 2, 2.1]
    )
    front = clips.write_video(folder / "front.mp4", images, container_options={"movflags": "faststart"})
    cut = clips.write_video(folder / "cut.mp4", images, container_options={"movflags": "frag_keyframe"})
    real = sorted(Path(os.environ.get("WALKAROUND_TEST_DATA", "")).glob("captures/*.mp4")) if CAMPAIGN else []
    return files | {path.name: path.read_bytes() for path in (turned, front, cut, *real)}


def _read_video(path: Path, root: Path) -> None:
    info = probe_video(path, max_pixels=1_000_000, max_frames=500)
    assert info.num_frames <= 501 and info.width * info.height <= 1e9
    with VideoReader(path, num_threads=1, max_pixels=1_000_000) as reader:
        for frame, _ in zip(reader.frames(), range(30), strict=False):
            assert frame.luma(64).size and frame.image_srgb(64).ndim == 3
    capture = inspect_capture(path, options=CaptureOptions(max_pixels=1_000_000, max_frames=500))
    if "length_share" not in capture.scores:
        extract_frames(path, capture, root / "images", options=FramesOptions(num_frames=4), num_threads=1)


def _photos(folder: Path) -> dict[str, bytes]:
    image = clips.texture(40, 56)
    files = {
        f"a{suffix}": cv2.imencode(suffix, image)[1].tobytes() for suffix in (".png", ".webp", ".tif", ".bmp")
    }
    files["lossless.webp"] = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    files["progressive.jpg"] = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    files["exif.jpg"] = clips.jpeg_with_exif(image, clips.exif_block(6, 28, ">"))
    files["16.tif"] = cv2.imencode(".tif", image.astype(np.uint16) * 257)[1].tobytes()
    return files


def _archives(folder: Path) -> dict[str, bytes]:
    files = {"a/1.jpg": encode_jpeg(clips.texture(16, 16)), "a/2.jpg": b"x" * 3000, "notes.txt": b"y" * 100}
    out = {kind: pack(folder / kind, files).read_bytes() for kind, pack in test_archive.PACKERS.items()}
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out | {"stored": stored.getvalue()}


def _read_archive(path: Path, root: Path) -> None:
    extract_photos(path, root, limits=ArchiveLimits(max_members=100, max_unpacked_mb=20))


def record() -> SequenceRecord:
    """Return a record with something in every field."""
    return SequenceRecord(
        class_label="mug",
        instance_id="0123456789ab",
        status="accepted",
        reasons=("dark",),
        message="A message.",
        scores={"arc_deg": 300.0, "odd": None},
        source=SourceRecord(kind="video", sha256="0" * 64, codec="h264", width=64, height=48, num_frames=90),
        frames=tuple(
            FrameRecord(image=f"{n:03d}.jpg", source_index=n, timestamp_s=n / 3) for n in range(1, 5)
        ),
        options={"frames": {"num_frames": 30}},
        versions={"walkaround": "0.1.0"},
        warnings=("A note.",),
        notes={"cameras": {"attempts": [{"name": "sift", "score": 0.5}]}},
    )


def _records(folder: Path) -> dict[str, bytes]:
    return {"mug/0123456789ab/sequence.json": json.dumps(record_to_dict(record())).encode()}


def _read_record(path: Path, root: Path) -> None:
    """Rebuild the catalogue from it, read that, and write its report."""
    rebuild_catalog(path.parents[2])
    read_catalog(path.parents[2])
    write_report(path.parent, root / "report.html")
    assert "<script>alert" not in (root / "report.html").read_text(encoding="utf-8")


def _catalogs(folder: Path) -> dict[str, bytes]:
    path = folder / "mug" / record().instance_id / "sequence.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record_to_dict(record())))
    rebuild_catalog(folder)
    return {"catalog.parquet": (folder / "catalog.parquet").read_bytes()}


def _read_catalog(path: Path, root: Path) -> None:
    read_catalog(path.parent)


def _clouds(folder: Path) -> dict[str, bytes]:
    write_ply(folder / "a.ply", fakes.make_cloud())
    write_pcd(folder / "a.pcd", fakes.make_cloud())
    table = pcl_table(30, float_rgb=True, shuffled=True)
    ascii_ply = (
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n"
        "end_header\n1 2 3\n4 5 6\n"
    )
    return {
        **{name: (folder / name).read_bytes() for name in ("a.ply", "a.pcd")},
        "ascii.pcd": pcd(table, "ascii"),
        "packed.pcd": pcd(table, "binary_compressed"),
        "ascii.ply": ascii_ply.encode(),
    }


def _transforms(folder: Path) -> dict[str, bytes]:
    """A capture with cameras, and one with a projection matrix."""
    frame = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist(), "fl_x": 60.0, "w": 64, "h": 48}
    image = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    return {"source/transforms.json": json.dumps({"frames": [frame]}).encode(), "source/a.png": image}


def _matrices(folder: Path) -> dict[str, bytes]:
    image = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    return {"source/a.txt": b"CONTOUR\n60 0 32 0\n0 60 24 0\n0 0 1 1\n", "source/a.png": image}


def _models(folder: Path) -> dict[str, bytes]:
    write_sparse_model(folder, fakes.make_model(fakes.make_frames()))
    names = ("cameras.bin", "images.bin", "points3D.bin")
    return {f"sparse/{name}": (folder / name).read_bytes() for name in names}


def _depths(folder: Path) -> dict[str, bytes]:
    depth = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    return {"d.png": cv2.imencode(".png", depth)[1].tobytes()}


def _manifests(folder: Path) -> dict[str, bytes]:
    text = (
        "source,class_label,instance_id,licence,consent\ns3://x/a.mp4,mug,a-1,CC0,yes\ns3://x/b.mp4,bag,,,\n"
    )
    files = {
        "a.csv": text.encode(),
        "a.tsv": text.replace(",", "\t").encode(),
        "bom.csv": text.encode("utf-8-sig"),
    }
    import duckdb

    (folder / "m.csv").write_text(text)
    duckdb.sql(f"COPY (FROM '{folder / 'm.csv'}') TO '{folder / 'm.parquet'}'")
    return files | {"a.parquet": (folder / "m.parquet").read_bytes()}


def _truths(folder: Path) -> dict[str, bytes]:
    frame = {
        "image": "001.png",
        "K": np.eye(3).tolist(),
        "cam_from_world": np.eye(4).tolist(),
        "width": 4,
        "height": 3,
    }
    return {"cameras.json": json.dumps({"frames": [frame, {**frame, "image": "002.png"}]}).encode()}


def _progresses(folder: Path) -> dict[str, bytes]:
    working = Running(key="k", class_label="mug", stage="depth", share=0.5, since=1.0)
    snapshot = Snapshot(
        state="running", runner="local", workers=2, host="h", pid=1, started=1.0, updated=2.0, total=3,
        reasons={"dark": 1}, running=(working,), failed_keys=("k",),
    )  # fmt: skip
    return {"progress.json": json.dumps(plain(snapshot)).encode()}


def _read_depth(path: Path, root: Path) -> None:
    read_depth(path)


_JOURNAL = b"""{"event": "died", "key": "0123456789ab", "fingerprint": "a", "what": "x", "stage": ""}
{"event": "ended", "key": "0123456789ab", "class_label": "mug", "outcome": "accepted", "reasons": ["dark"]}
"""
TARGETS: dict[str, Target] = {
    "video": Target(seeds=_videos, read=_read_video),
    "photo": Target(seeds=_photos, read=lambda path, root: _ignore(read_image(path))),
    "archive": Target(seeds=_archives, read=_read_archive),
    "record": Target(seeds=_records, read=_read_record, is_text=True),
    "catalogue": Target(seeds=_catalogs, read=_read_catalog),
    "cloud": Target(seeds=_clouds, read=lambda path, root: _ignore(read_cloud(path))),
    "colmap": Target(seeds=_models, read=lambda path, root: _ignore(read_sparse_model(path.parent))),
    "depth": Target(seeds=_depths, read=_read_depth),
    "manifest": Target(seeds=_manifests, read=lambda path, root: _ignore(read_captures(path)), is_text=True),
    "classes": Target(
        seeds=lambda folder: {"c.csv": b"id,label,aliases\n1,mug,cup\n2,bag,sack;purse\n"},
        read=lambda path, root: _ignore(load_class_table(path)),
        is_text=True,
    ),
    "transforms": Target(seeds=_transforms, read=lambda path, root: _read_given(path.parent), is_text=True),
    "matrices": Target(seeds=_matrices, read=lambda path, root: _read_given(path.parent), is_text=True),
    "truth": Target(seeds=_truths, read=lambda path, root: _ignore(read_truth(path)), is_text=True),
    "dataset": Target(
        seeds=lambda folder: {"dataset.json": b'{"schema_version": 1, "name": "d", "classes": ["mug"]}'},
        read=lambda path, root: _ignore(update_description(path.parent, [record()], None)),
        is_text=True,
    ),
    "journal": Target(
        seeds=lambda folder: {"journal.jsonl": _JOURNAL},
        read=lambda path, root: _ignore(read_histories(path.parent)),
        is_text=True,
    ),
    "progress": Target(
        seeds=_progresses,
        read=lambda path, root: _ignore(read_snapshot(path.parent)),
        is_text=True,
    ),
}


def _read_given(folder: Path) -> None:
    read_given(folder, "auto", ImportOptions())


def _ignore(value: object) -> None:
    """Only that it was read counts."""
