"""Run by test_pipeline: kill a build (SIGKILL) at its n-th change of the file system, for every n.

Forks a child for each build, so the libraries load once. Prints one JSON line a killed build:
[n, what was about to happen, problem or ""]; the last line is the number of changes of a whole build.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from tests import fakes
from tests.trees import tree
from walkaround.pipeline import BuildOptions, build_sequence


def patch_stages() -> None:
    for target, function in fakes.PATCHES.items():
        module, name = target.rsplit(".", 1)
        setattr(importlib.import_module(module), name, function)


def kill_at(limit: int) -> Callable[[], int]:
    """Count file system changes and SIGKILL this process just before the ``limit``-th."""
    count = 0

    def step(what: str) -> None:
        nonlocal count
        count += 1
        if count == limit:
            os.write(2, what.encode()[:200])
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
            step(f"open {args[0]}")
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
            step(f"{event} {args[0]}")

    write = cv2.imwrite

    def imwrite(path: str, image: Any) -> bool:
        step(f"imwrite {path}")
        return bool(write(path, image))

    cv2.imwrite = imwrite  # type: ignore[assignment]
    sys.addaudithook(audit)
    return lambda: count


def build_in_child(source: Path, root: Path, limit: int) -> tuple[bool, int, str]:
    """Build in a forked child; return (killed, changes counted, what was about to happen)."""
    number_read, number_write = os.pipe()
    error_read, error_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(error_write, 2)
        counted = kill_at(limit)
        build_sequence(source, root, options=BuildOptions(class_label="mug", threads=1))
        os.write(number_write, str(counted()).encode())
        os._exit(0)
    os.close(number_write)
    os.close(error_write)
    _, status = os.waitpid(child, 0)
    number, error = os.read(number_read, 100).decode(), os.read(error_read, 100_000).decode()
    os.close(number_read)
    os.close(error_read)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise SystemExit(error)
    return os.WIFSIGNALED(status), int(number or 0), error


def main() -> None:
    source, work, first, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    patch_stages()
    reference = work / "reference"
    _, total, _ = build_in_child(source, reference, limit=-1)
    expected = tree(reference)
    for limit in range(first, total + 1, step):
        root = work / "killed"
        killed, _, what = build_in_child(source, root, limit)
        problem = "" if killed else "was not killed"
        half = [path for path in tree(root) if ".tmp" in path and not path.startswith(".work/")]
        build_in_child(source, root, limit=-1)
        found = tree(root)
        if found != expected:
            names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
            problem = f"other outputs: {names}, half files after the kill: {half}"
        sys.stdout.write(json.dumps([limit, what.replace(str(work), ""), problem]) + "\n")
        shutil.rmtree(root)
    sys.stdout.write(f"{total}\n")


if __name__ == "__main__":
    main()
