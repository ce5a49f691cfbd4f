"""How long the viewer takes to open: ``python benchmarks/view.py SEQUENCE [--repeat 3]``.

Prints the seconds from the start of the process until the page can be loaded, until the first points are
ready to be sent, and until all are; with Playwright and a Chromium also from the page's request until a first
picture is drawn (in software there, so slower than with a GPU).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

CODE = """
import sys, time
from pathlib import Path
start = float(sys.argv[2])
from walkaround.viewer.session import open_session
with open_session(Path(sys.argv[1]), port=0) as session:
    page = time.time() - start
    while not session.window.levels:
        time.sleep(0.005)
    first = time.time() - start
    total = session.window.content.cloud.points_in_world.shape[0]
    while session.window.levels[-1][1] < min(total, 5_000_000):
        time.sleep(0.005)
    print(f"{page:.2f} {first:.2f} {time.time() - start:.2f} {total} {time.process_time():.2f}", flush=True)
"""


def open_times(sequence: Path) -> list[float]:
    """Return seconds until the page, the first points, all points; their number; CPU seconds."""
    command = [sys.executable, "-c", CODE, str(sequence), str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def drawn_time(sequence: Path) -> float:
    """Return the seconds from the request of the page until a browser has drawn the first points."""
    from playwright.sync_api import sync_playwright

    from walkaround.viewer.session import open_session

    with open_session(sequence, port=0) as session, sync_playwright() as playwright:
        arguments = [
            "--no-sandbox",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
        ]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        start = time.monotonic()
        page.goto(session.address)
        while not session.window.server.get_clients():
            time.sleep(0.01)
        (client,) = session.window.server.get_clients().values()
        client.get_render(height=64, width=64, timeout=60.0)
        taken = time.monotonic() - start
        browser.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    runs = [open_times(options.sequence) for _ in range(options.repeat)]
    names = ("page", "first points", "all points", "points", "CPU-s")
    for name, values in zip(names, zip(*runs, strict=True), strict=True):
        print(f"{name:14} {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
    if shutil.which("chromium"):
        print(f"drawn after    {drawn_time(options.sequence):.2f}")


if __name__ == "__main__":
    main()
