"""Ctrl-C while ``walkaround restore`` is at a folder, and the same command again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from walkaround.cli import main

QUICK = ["--pairs.iterations", "3", "--pairs.channels", "8", "--pairs.draws", "1", "--threads", "1"]

INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from walkaround.cli import main
sys.exit(main(sys.argv[1:]))
"""


def write(path: Path, side: int) -> None:
    rows, columns = np.mgrid[:side, :side]
    waves = np.stack([128 + 90 * np.sin(columns / 7), 128 + 90 * np.cos(rows / 9), 200 - columns % 99], -1)
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), waves.astype(np.uint8))


def test_ctrl_c_keeps_the_finished_pictures_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in" / "a.png", 64)
    write(tmp_path / "in" / "b.png", 2500)  # takes many seconds
    command = ["restore", "denoise", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *command], stderr=subprocess.PIPE, text=True
    )
    first, last_moment = tmp_path / "out" / "a.png", time.monotonic() + 120
    while not first.exists() and process.poll() is None and time.monotonic() < last_moment:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and "continues after the last finished picture" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "a.png"]
    finished = first.stat().st_mtime_ns
    write(tmp_path / "in" / "b.png", 64)
    assert main(command) == 0
    assert "1 restored, 1 were there already" in capsys.readouterr().err
    assert first.stat().st_mtime_ns == finished and (tmp_path / "out" / "b.png").exists()
