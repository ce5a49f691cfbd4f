"""Batches in processes of their own, for tests that kill parts of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.trees import tree
from walkaround.runners._memory import process_tree

REPOSITORY = Path(__file__).parents[1]


_MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from walkaround.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def environment(*, fakes: bool = True, **more: str) -> dict[str, str]:
    """Return an environment in which every build of a process tree has fake stages (tests/faults.py)."""
    hooks = [str(REPOSITORY / "tests" / "hooks")] if fakes else []
    path = os.pathsep.join([*hooks, str(REPOSITORY), str(REPOSITORY / "src")])
    return {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0", **more}


def collection(folder: Path, captures: dict[str, str]) -> Path:
    """Write captures (``mug/a.mp4`` -> content, which tests/faults.py obeys) as a tree of class folders."""
    for name, content in captures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content} {name}")
    return folder


def start(source: Path, root: Path, *options: str, fakes: bool = True, **env: str) -> subprocess.Popen[str]:
    """Start ``walkaround build`` in a session of its own."""
    command = [sys.executable, "-c", _MAIN, "build", str(source), "--out", str(root), *options]
    return subprocess.Popen(
        command,
        env=environment(fakes=fakes, **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def build(source: Path, root: Path, *options: str, fakes: bool = True, **env: str) -> tuple[int, str, str]:
    """Run ``walkaround build`` to its end; return exit code, stdout and stderr."""
    with start(source, root, *options, fakes=fakes, **env) as process:
        out, err = process.communicate(timeout=600)
        assert "Traceback" not in err, err
        return process.returncode, out, err


def dataset(root: Path) -> dict[str, bytes]:
    """Return every file of a dataset but what lies in ``.work``, without timings."""
    return {name: content for name, content in tree(root).items() if not name.startswith(".work/")}


def outcomes(root: Path) -> dict[str, list[str]]:
    """Return the outcome of each entry's last look, as the journal has them: key -> all outcomes in order."""
    found: dict[str, list[str]] = {}
    for line in (root / ".work" / "batch" / "journal.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "ended":
            found.setdefault(event["key"], []).append(event["outcome"])
    return found


def wait_until(what: Callable[[], Any], patience_s: float = 60.0) -> Any:
    """Wait for something to be true, and return it."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def builds(driver: int) -> list[int]:
    """Return the processes in which a local batch builds its sequences."""
    return [pid for pid in process_tree(driver)[1:] if b"_child" in command_line(pid)]


def command_line(pid: int) -> bytes:
    """Return a process's command line; empty when it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def gone(pid: int) -> bool:
    """Return whether a process has ended (a zombie has)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; return False when the process has gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class Nodes:
    """The cluster of tests/ray_nodes.py."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.address = self._line()

    def __call__(self, word: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._line()

    def builds(self) -> list[int]:
        """Return the processes in which the cluster builds sequences."""
        return [pid for pid in process_tree(self._process.pid) if b"_child" in command_line(pid)]

    def workers(self) -> list[int]:
        """Return Ray's processes that run a task now."""
        return [pid for pid in process_tree(self._process.pid) if b"ray::walkaround" in command_line(pid)]

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def ray_nodes(folder: Path, *, fakes: bool = True) -> Iterator[Nodes]:
    """Run a cluster of a head and two nodes with a CPU each."""
    with (
        (folder / "nodes.log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.ray_nodes"],
            cwd=REPOSITORY,
            env=environment(fakes=fakes),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        cluster = Nodes(process)
        yield cluster
        cluster("quit")
