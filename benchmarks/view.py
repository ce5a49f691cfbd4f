"""How long the viewer takes to open: ``python benchmarks/view.py SEQUENCE [--repeat 3]``.

Each run starts `walkaround view` anew and opens its page in a fresh Chromium (Playwright). Told are the
seconds from the start of the command until its address is printed, and from the request of the page until the
server's picture of the object stands there, until the 3-D view has drawn its first points (60,000; the
picture is read back, so it is really there), and until it has drawn the next level; with the processor time
that all Chromium of the machine had taken by then. There is no graphics card here: WebGL is computed by the
processor (SwiftShader). ``--slow 4`` slows the page's scripts down.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from accuracy import commit, machine

FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
HOOK = """
(() => {
  const say = (what) => { (window.top.__seen ||= {})[what] ??= performance.timeOrigin + performance.now(); };
  if (window === window.top) {
    const timer = setInterval(() => {
      const poster = document.getElementById("poster");
      if (!poster?.naturalWidth || poster.hidden) return;
      clearInterval(timer);
      requestAnimationFrame(() => say("picture"));
    }, 5);
  }
  const own = WebGL2RenderingContext.prototype.drawArrays;
  WebGL2RenderingContext.prototype.drawArrays = function (mode, first, count) {
    own.call(this, mode, first, count);
    if (mode !== this.POINTS && count < 50000) return;
    const levels = (window.top.__levels ||= new Set());
    if (levels.has(count)) return;
    levels.add(count);
    this.readPixels(0, 0, 1, 1, this.RGBA, this.UNSIGNED_BYTE, new Uint8Array(4)); // waits until it is drawn
    say(levels.size === 1 ? "first points" : "next level");
  };
})();
"""


def chromium_cpu_s() -> float:
    """Return the processor time that all processes of Chromium have taken."""
    total = 0.0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"chromium" in (place / "cmdline").read_bytes():
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / 100
        except OSError:  # it has ended
            continue
    return total


def opened(sequence: Path, slow: float) -> dict[str, float]:
    """Return seconds of the milestones of one run."""
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "walkaround", "view", str(sequence), "--port", "0"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": 1200, "height": 750})
        page.add_init_script(HOOK)
        if slow != 1:
            page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slow})
        start = time.time()
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            if server.stdout is None:
                raise RuntimeError("the viewer has no output")
            address = server.stdout.readline().strip()
            told = {"address printed": time.time() - start}
            told |= milestones(page, address)
            told["command to picture"] = told["address printed"] + told["picture"]
        finally:
            server.terminate()
            server.wait()
            browser.close()
    return told


def milestones(page: Any, address: str) -> dict[str, float]:
    """Open a page; return seconds, and Chromium's processor time, until it shows what it should."""
    told: dict[str, float] = {}
    cpu_before, start = chromium_cpu_s(), time.time()
    page.goto(address, wait_until="commit")
    while "next level" not in told and time.time() - start < 60:
        for name, at in page.evaluate("window.__seen ?? {}").items():
            if name not in told:
                told[name], told[f"{name}, CPU"] = at / 1000 - start, chromium_cpu_s() - cpu_before
        page.wait_for_timeout(30)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--slow", type=float, default=1.0)
    options = parser.parse_args()
    print(f"commit {commit()}, {machine()}")
    runs = [opened(options.sequence, options.slow) for _ in range(options.repeat)]
    for name in runs[0]:
        values = [run[name] for run in runs if name in run]
        print(f"{name:22} {statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
