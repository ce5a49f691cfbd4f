"""How close `extract_frames` runs to the bare decoder, in one run: wall and CPU time, median of repeats.

    python benchmarks/frames.py [VIDEO ...] [--repeats 5]

Without a video it makes a 10 s 1080p30 H.264 clip of moving noise-textured patches. The reference is
`ffmpeg -f null` where ffmpeg is on PATH, else a loop over PyAV's decoder that does nothing with the frames.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from walkaround.capture import CaptureOptions, inspect_capture
from walkaround.frames import FramesOptions, extract_frames


def make_clip(path: Path, *, seconds: int = 10, width: int = 1920, height: int = 1080) -> None:
    """Encode a textured picture that drifts and turns, with sensor noise."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (270, 480, 3), np.uint8)
    texture = cv2.resize(small, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 4, (4, height, width, 3)).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "fast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(30 * seconds):
            turn = cv2.getRotationMatrix2D((width, height), i * 0.3, 1.0)
            turn[:, 2] -= (width / 2 + 2 * i, height / 2)
            image = cv2.warpAffine(texture, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
            noisy = np.clip(image.astype(np.int16) + noise[i % 4], 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(noisy, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decode_only(path: Path) -> None:
    """Decode all frames and drop them."""
    if shutil.which("ffmpeg"):
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v:0", "-f", "null", "-"]
        subprocess.run(command, check=True)
        return
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _ in container.decode(stream):
            pass


def extract(path: Path) -> None:
    """Probe the video and write its stills."""
    with tempfile.TemporaryDirectory() as folder:
        capture = inspect_capture(path, options=CaptureOptions())
        extract_frames(path, capture, Path(folder), options=FramesOptions())


def timed(work: Callable[[Path], None], path: Path) -> tuple[float, float]:
    """Return wall and CPU seconds, children included."""

    def cpu() -> float:
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(resource.getrusage(k).ru_utime + resource.getrusage(k).ru_stime for k in kinds)

    wall, used = time.perf_counter(), cpu()
    work(path)
    return time.perf_counter() - wall, cpu() - used


def measure(path: Path, repeats: int) -> str:
    """Alternate both, so that a busy machine slows both alike; return one table row."""
    extract(path)
    rows = [(*timed(decode_only, path), *timed(extract, path)) for _ in range(repeats)]
    bare_wall, bare_cpu, own_wall, own_cpu = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = sorted(row[2] / row[0] for row in rows)
    low, high = ratios[0], ratios[-1]
    return (
        f"| {path.name} | {bare_wall:.2f} / {bare_cpu:.2f} | {own_wall:.2f} / {own_cpu:.2f} "
        f"| {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}) | {own_cpu / bare_cpu:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    reference = "ffmpeg -f null" if shutil.which("ffmpeg") else f"bare PyAV {av.__version__} decode loop"
    load = os.getloadavg()[0]
    print(f"reference: {reference}; {os.cpu_count()} cores; load {load:.1f}; repeats: {arguments.repeats}\n")
    print("| video | decode only, wall / CPU s | probe + extract, wall / CPU s | wall ratio | CPU ratio |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip_1080p30_10s.mp4"
        if not arguments.videos:
            make_clip(clip)
        for path in arguments.videos or [clip]:
            print(measure(path, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
