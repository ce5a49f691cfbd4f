"""Samples a second into training: ``python benchmarks/loading.py --data DATA``.

Scenes of 30 images of 1920 x 1080 (shared captures, scaled up; MVImgNet's layout, 2,500 observations an
image) are loaded as samples of four views of 224 px, cropped around the mask, with masks and cameras, by a
DataLoader with two workers: by a plain loader (PIL, COLMAP's binaries read by Python as in its own script, on
every item), from the folders, from shards of the files as they are, and from shards resized to a short side
of 512 px. The kinds take turns, so that other work on the machine meets all of them; the ratios are what
counts.

Then: the first sample from an index of 200,000 scenes, and the memory of a worker over a long epoch.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import duckdb
import numpy as np
import torch
import tyro
from accuracy import commit, machine
from numpy.typing import NDArray
from PIL import Image

from walkaround import __version__
from walkaround.dataset.readers import Dataset
from walkaround.dataset.shards import ShardOptions, write_shards
from walkaround.dataset.torch import SceneSampler, ViewDataset, ViewOptions, ViewStream, collate

SIZE_WH = (1920, 1080)
SETS = ("skull", "real_plant", "banana")
VIEWS, PIXELS, MARGIN = 4, 224, 0.1


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure loading."""

    data: Path = Path(os.environ.get("WALKAROUND_TEST_DATA", "data"))
    """The shared captures."""
    scenes: int = 64
    """Scenes on disk."""
    images: tuple[int, ...] = (30,)
    """Images a scene; each number is measured."""
    epochs: int = 6
    """Rounds; the kinds take turns within each."""
    batch: int = 4
    """Samples a batch."""
    workers: int = 2
    """Processes that load."""
    index: int = 200_000
    """Rows of the large index; 0 leaves it out."""
    memory_samples: int = 3_000
    """Samples of the epoch over which memory is watched; 0 leaves it out."""
    only_index: Path | None = None
    """Load one sample from these shards in this process (what the benchmark itself uses)."""


def main(arguments: Arguments) -> None:
    """Print one table a size of scene, then the large index and the memory."""
    if arguments.only_index is not None:
        first_sample(arguments.only_index)
        return
    print(f"machine: {machine()}; load {os.getloadavg()[0]:.1f}; walkaround {__version__}, commit {commit()}")
    with tempfile.TemporaryDirectory(prefix="walkaround-loading-") as folder:
        os.environ["WALKAROUND_CACHE"] = str(Path(folder) / "cache")
        for images in arguments.images:
            root = Path(folder) / f"scenes{images}"
            make_scenes(root, arguments.data, arguments.scenes, images)
            compare(root, arguments)
        if arguments.index:
            measure_index(root.with_name(f"{root.name}-shards"), arguments.index)
        if arguments.memory_samples:
            measure_memory(root, arguments)


# --- the plain loader ---


def read_cameras(path: Path) -> dict[int, tuple[int, int, tuple[float, ...]]]:
    """Read ``cameras.bin`` as COLMAP's read_write_model.py does."""
    counts = {0: 3, 1: 4, 2: 4, 3: 5, 4: 8}
    cameras = {}
    with path.open("rb") as file:
        for _ in range(struct.unpack("<Q", file.read(8))[0]):
            number, model, width, height = struct.unpack("<iiQQ", file.read(24))
            cameras[number] = width, height, struct.unpack(f"<{counts[model]}d", file.read(8 * counts[model]))
    return cameras


def read_images(path: Path) -> dict[str, tuple[Any, Any, int, Any, Any]]:
    """Read ``images.bin`` as COLMAP's read_write_model.py does."""
    images = {}
    with path.open("rb") as file:
        for _ in range(struct.unpack("<Q", file.read(8))[0]):
            values = struct.unpack("<idddddddi", file.read(64))
            name = b""
            while (letter := file.read(1)) != b"\0":
                name += letter
            count = struct.unpack("<Q", file.read(8))[0]
            points = struct.unpack("<" + "ddq" * count, file.read(24 * count))
            xys = np.column_stack([tuple(map(float, points[0::3])), tuple(map(float, points[1::3]))])
            ids = np.array(tuple(map(int, points[2::3])))
            images[name.decode()] = np.array(values[1:5]), np.array(values[5:8]), values[8], xys, ids
    return images


def rotation(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix of a quaternion."""
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * y**2 - 2 * z**2, 2 * x * y - 2 * w * z, 2 * z * x + 2 * w * y],
            [2 * x * y + 2 * w * z, 1 - 2 * x**2 - 2 * z**2, 2 * y * z - 2 * w * x],
            [2 * z * x - 2 * w * y, 2 * y * z + 2 * w * x, 1 - 2 * x**2 - 2 * y**2],
        ]
    )


class PlainDataset(torch.utils.data.Dataset):  # type: ignore[misc]
    """One file after the other, as one writes it in an afternoon."""

    def __init__(self, root: Path) -> None:
        self.scenes = sorted(path.parent for path in root.glob("*/*/images"))

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, number: int) -> dict[str, Any]:
        scene = self.scenes[number]
        cameras = read_cameras(scene / "sparse" / "0" / "cameras.bin")
        images = read_images(scene / "sparse" / "0" / "images.bin")
        out: dict[str, list[Any]] = {"image": [], "mask": [], "K": [], "pose": []}
        for place in torch.randperm(len(images))[:VIEWS]:
            name = sorted(images)[int(place)]
            q, t, camera, _, _ = images[name]
            f, cx, cy = cameras[camera][2][:3]
            image = Image.open(scene / "images" / name).convert("RGB")
            mask = Image.open(scene / "masks" / f"{name}.png").convert("L")
            x0, y0, x1, y1 = mask.point(lambda value: 255 * (value > 127)).getbbox()
            side = max(x1 - x0, y1 - y0) * (1 + 2 * MARGIN)
            left, top = round((x0 + x1 - side) / 2), round((y0 + y1 - side) / 2)
            box = (left, top, left + round(side), top + round(side))
            image = image.crop(box).resize((PIXELS, PIXELS), Image.Resampling.BILINEAR)
            mask = mask.crop(box).resize((PIXELS, PIXELS), Image.Resampling.BILINEAR)
            s = PIXELS / round(side)
            pose = np.eye(4, dtype=np.float32)
            pose[:3, :3], pose[:3, 3] = rotation(q), t
            out["image"].append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
            out["mask"].append(torch.from_numpy(np.array(mask))[None].float() / 255)
            K = [[f * s, 0, (cx - left) * s], [0, f * s, (cy - top) * s], [0, 0, 1]]
            out["K"].append(torch.tensor(K))
            out["pose"].append(torch.from_numpy(pose))
        return {name: torch.stack(values) for name, values in out.items()}


# --- speed ---


def loaders(root: Path, arguments: Arguments) -> dict[str, Callable[[int], Any]]:
    """Return what gives a DataLoader of an epoch, by kind."""
    settings = {"batch_size": arguments.batch, "num_workers": arguments.workers}
    whole = root.with_name(f"{root.name}-shards")
    small = root.with_name(f"{root.name}-512")
    write_shards(Dataset(root), whole, options=ShardOptions(size_mb=64))
    write_shards(Dataset(root), small, options=ShardOptions(size_mb=8, resize=512))
    options = {
        lens: ViewOptions(num_views=VIEWS, size_px=PIXELS, margin=MARGIN, masks=True, distortion=lens)
        for lens in ("keep", "undistort")
    }

    def plain(epoch: int) -> Any:
        return torch.utils.data.DataLoader(PlainDataset(root), shuffle=True, **settings)

    def mapped(path: Path, lens: str) -> Callable[[int], Any]:
        dataset = ViewDataset(path, options=options[lens])

        def make(epoch: int) -> Any:
            sampler = SceneSampler(len(dataset))
            sampler.set_epoch(epoch)
            return torch.utils.data.DataLoader(dataset, sampler=sampler, collate_fn=collate, **settings)

        return make

    def streamed(epoch: int) -> Any:
        stream = ViewStream(small, options=options["keep"])
        stream.set_epoch(epoch)
        return torch.utils.data.DataLoader(stream, collate_fn=collate, **settings)

    kinds: dict[str, Callable[[int], Any]] = {"plain: PIL, COLMAP files": plain}
    for name, path in (("folders", root), ("shards", whole), ("shards, resized to 512", small)):
        kinds[name] = mapped(path, "keep")
        kinds[f"{name}, undistorted"] = mapped(path, "undistort")
    return {**kinds, "stream of shards, resized to 512": streamed}


def compare(root: Path, arguments: Arguments) -> None:
    """Print samples a second and CPU time of each kind, and the ratio to the plain one."""
    kinds = loaders(root, arguments)
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    spent: dict[str, list[float]] = {name: [] for name in kinds}
    for epoch in range(arguments.epochs):
        for name, make in kinds.items():
            rate, cpu = run_epoch(make(epoch))
            rates[name].append(rate)
            spent[name].append(cpu)
    print(
        f"{arguments.scenes} scenes of {root.name.removeprefix('scenes')} images; {VIEWS} views of"
        f" {PIXELS} px a sample"
    )
    print(f"  {'':<36} {'samples/s':>9} {'spread':>15} {'ratio':>6}  CPU ms a sample, ratio")
    base = next(iter(kinds))
    for name in kinds:
        middle, low, high = statistics.median(rates[name]), min(rates[name]), max(rates[name])
        ratio = statistics.median(a / b for a, b in zip(rates[name], rates[base], strict=True))
        cpu = statistics.median(spent[name])
        saved = statistics.median(b / a for a, b in zip(spent[name], spent[base], strict=True))
        print(
            f"  {name:<36} {middle:9.1f} {low:7.1f} {high:7.1f} {ratio:6.2f}  {1e3 * cpu:6.1f} {saved:6.2f}",
            flush=True,
        )


def run_epoch(loader: Any) -> tuple[float, float]:
    """Return samples a second of wall time from the second batch on, and CPU seconds a sample of the
    workers."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    batches = iter(loader)
    total = count = size_of(next(batches))
    started = time.perf_counter()
    for batch in batches:
        total += size_of(batch)
    passed = time.perf_counter() - started
    del batches, loader
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (total - count) / passed, cpu / total


def size_of(batch: dict[str, Any]) -> int:
    """Return the number of samples of a batch; see that it holds them."""
    image = batch["image"] if "image" in batch else batch["image_srgb"]
    if image.shape[1:] != (VIEWS, 3, PIXELS, PIXELS) or batch.get("skipped"):
        raise SystemExit(f"a batch of {tuple(image.shape)}, skipped {batch.get('skipped')}")
    return int(image.shape[0])


# --- a large index, memory ---


def measure_index(shards: Path, rows: int) -> None:
    """Time the first sample from an index of many rows, of which one scene is real, in fresh processes."""
    large = shards.with_name("large")
    large.mkdir()
    for name in ("shards.json", "shard-000000.tar"):
        shutil.copy(shards / name, large / name)
    real = rows // 3
    query = (
        "SELECT class_label: (n % 238)::VARCHAR, class_id, class_name,"
        f" instance_id: if(n = {real}, instance_id, format('{{:x}}', hash(n))),"
        f" shard: if(n = {real}, shard, n // 400),"
        + "".join(
            f" {name}: if(n = {real}, {name}, (hash(n + {place}) % {most})::BIGINT),"
            for place, (name, most) in enumerate(
                {
                    "sample_offset": 10**9,
                    "sample_bytes": 10**8,
                    "head_offset": 10**9,
                    "head_bytes": 20_000,
                }.items()
            )
        )
        + " num_images, num_views, num_masks, num_boxes, num_depth, files: list_transform(files, lambda file:"
        " struct_pack(path := file.path, start := file.start + n * 7, size := file.size + n % 999))"
        f" FROM range({rows}) AS scenes(n), (FROM '{shards / 'index.parquet'}' LIMIT 1) ORDER BY n"
    )
    duckdb.sql(query).write_parquet(str(large / "index.parquet"), compression="zstd", row_group_size=4096)
    size = (large / "index.parquet").stat().st_size
    print(f"index of {rows:,} scenes, {size / 1e6:.1f} MB; seconds in fresh processes:", flush=True)
    for _ in range(3):
        subprocess.run([sys.executable, __file__, "--only-index", str(large)], check=True)


def first_sample(shards: Path) -> None:
    """Print what the first sample takes, from opening the index; libraries are loaded before."""
    import walkaround.dataset.torch.sample  # noqa: F401  torch, OpenCV, DuckDB

    started, cpu = time.perf_counter(), time.process_time()
    dataset = ViewDataset(shards, options=ViewOptions(num_views=VIEWS, missing="error"))
    opened = time.perf_counter() - started
    next(iter(SceneSampler(len(dataset))))  # the order of an epoch
    sample = dataset[len(dataset) // 3]  # the real one
    passed, spent = time.perf_counter() - started, time.process_time() - cpu
    print(
        f"  {passed:.3f} s ({spent:.3f} CPU-s), of which opening {opened:.3f}; {len(sample['images'])} views"
    )


def measure_memory(root: Path, arguments: Arguments) -> None:
    """Print the resident memory of one loading process as an epoch goes on."""
    shards = root.with_name(f"{root.name}-shards")
    dataset = ViewDataset(shards, options=ViewOptions(num_views=VIEWS, size_px=PIXELS, masks=True))
    print("memory of a loading process after samples (RSS, MB):", end="")
    for count, epoch in enumerate(epochs(dataset, arguments.memory_samples)):
        if count in {arguments.memory_samples * part // 10 for part in (1, 2, 3, 5, 7, 9)}:
            print(f"  {count}: {resident_mb():.0f}", end="", flush=True)
        del epoch
    print(f"  {arguments.memory_samples}: {resident_mb():.0f}")


def epochs(dataset: ViewDataset, count: int) -> Iterator[Any]:
    """Yield samples, epoch after epoch, until there are so many."""
    for number in range(count):
        yield dataset[(number // len(dataset), number % len(dataset), 0)]


def resident_mb() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


# --- scenes ---


def make_scenes(root: Path, data: Path, count: int, images: int) -> None:
    """Write scenes in the layout of MVImgNet 2.0; each has its own files."""
    rng = np.random.default_rng(0)
    for number in range(count):
        photos = sorted((data / "captures" / SETS[number % len(SETS)]).rglob("*.[jJ][pP]*[gG]"))
        scene = root / str(number % 7) / f"{number:08x}"
        for part in ("images", "masks", "sparse/0"):
            (scene / part).mkdir(parents=True)
        for image in range(images):
            name = f"{image + 1:03d}.jpg"
            if number < len(SETS):
                pixels = cv2.imread(str(photos[image % len(photos)]))
                cv2.imwrite(str(scene / "images" / name), filled(pixels), [cv2.IMWRITE_JPEG_QUALITY, 92])
                cv2.imwrite(str(scene / "masks" / f"{name}.png"), blob(rng))
            else:
                twin = root / str(number % len(SETS) % 7) / f"{number % len(SETS):08x}"
                for part in (f"images/{name}", f"masks/{name}.png"):
                    shutil.copy(twin / part, scene / part)
        write_model(scene / "sparse" / "0", images, rng)


def filled(pixels: NDArray[Any]) -> NDArray[Any]:
    """Scale and cut an image to 1920 x 1080."""
    height, width = pixels.shape[:2]
    scale = max(SIZE_WH[0] / width, SIZE_WH[1] / height)
    size = (max(SIZE_WH[0], round(width * scale)), max(SIZE_WH[1], round(height * scale)))
    larger = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
    x, y = (larger.shape[1] - SIZE_WH[0]) // 2, (larger.shape[0] - SIZE_WH[1]) // 2
    return larger[y : y + SIZE_WH[1], x : x + SIZE_WH[0]]


def blob(rng: np.random.Generator) -> NDArray[Any]:
    """Return a soft mask of an uneven outline, about half as high as the image."""
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    waves = sum(rng.normal(0, 0.25 / k) * np.sin(k * angles + rng.uniform(0, 6)) for k in range(1, 30))
    radius = 270 * np.clip(1 + 0.5 * waves, 0.5, 1.6)
    middle = np.array(SIZE_WH) / 2 + rng.normal(0, 60, 2)
    outline = middle + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    mask = np.zeros(SIZE_WH[::-1], np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 255)
    return cv2.GaussianBlur(mask, (5, 5), 0)


def write_model(folder: Path, images: int, rng: np.random.Generator, observations: int = 2500) -> None:
    """Write COLMAP's binaries: a ring of cameras with one distorted lens."""
    params = (1700.0, SIZE_WH[0] / 2, SIZE_WH[1] / 2, 0.03)
    (folder / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 1, 2, *SIZE_WH, *params))
    parts = [struct.pack("<Q", images)]
    for number in range(images):
        angle = 2 * np.pi * number / images
        parts.append(struct.pack("<I7dI", number + 1, np.cos(angle / 2), 0, np.sin(angle / 2), 0, 0, 0, 2, 1))
        parts.append(f"{number + 1:03d}.jpg".encode() + b"\0" + struct.pack("<Q", observations))
        points = np.zeros(observations, dtype=[("xy", "<f8", 2), ("id", "<i8")])
        points["xy"], points["id"] = (
            rng.uniform(0, 1000, (observations, 2)),
            rng.integers(0, 20_000, observations),
        )
        parts.append(points.tobytes())
    (folder / "images.bin").write_bytes(b"".join(parts))
    (folder / "points3D.bin").write_bytes(struct.pack("<Q", 0))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
