"""Batches that lose a worker, their driver, the disk: nothing lost, nothing doubled, the same bytes at last.

Processes are really killed and disks really full; only the stages are fakes (tests/faults.py), which crash,
hang or fail where a capture says so. ``WALKAROUND_KILL_ALL=1`` adds 20 runs with real stages and kills at
random moments.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.batches import (
    build,
    builds,
    collection,
    dataset,
    gone,
    kill,
    outcomes,
    ray_nodes,
    start,
    wait_until,
)
from walkaround.dataset.catalog import read_catalog
from walkaround.simulate import SimulateOptions, simulate_capture

FINE = {"cup/a.mp4": "slow", "mug/b.mp4": "slow", "mug/c.mp4": "slow"}


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three captures that are accepted."""
    return collection(tmp_path_factory.mktemp("captures"), FINE)


@pytest.fixture(scope="module")
def undisturbed(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The dataset that they become when nothing happens."""
    root = tmp_path_factory.mktemp("undisturbed") / "root"
    code, _, err = build(captures, root, "--workers", "2")
    assert code == 0 and "3 of 3 captures: 3 accepted, 0 rejected, 0 failed" in err
    return dataset(root)


def test_a_killed_worker_costs_an_attempt(
    captures: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    with start(captures, root, "--workers", "2", WALKAROUND_TEST_SLOW_S="1") as driver:
        (pid, *_) = wait_until(lambda: builds(driver.pid))
        wait_until(lambda: list(root.glob("[!.]*/*/sequence.json")))
        assert kill(pid)
        _, err = driver.communicate(timeout=60)
    assert driver.returncode == 0, err
    assert err.count("its process died (SIGKILL") == 1 and "it is tried again" in err
    assert dataset(root) == undisturbed
    assert sorted(outcomes(root).values()) == [["accepted"]] * 3


@pytest.mark.parametrize("when", ["[!.]*/*/images", "catalog.parquet"])
def test_a_killed_driver_then_the_same_command(
    captures: Path, undisturbed: dict[str, bytes], tmp_path: Path, when: str
) -> None:
    root = tmp_path / "root"
    with start(captures, root, "--workers", "2") as driver:
        wait_until(lambda: list(root.glob(when)))
        children = builds(driver.pid)
        driver.kill()
        driver.communicate(timeout=60)
    assert wait_until(lambda: all(gone(pid) for pid in children)) is True
    code, _, err = build(captures, root, "--workers", "2")
    assert code == 0 and "3 of 3 captures" in err
    assert dataset(root) == undisturbed
    assert not list((root / ".work").glob("*.lock"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_batch_that_is_told_to_end(
    captures: Path, undisturbed: dict[str, bytes], tmp_path: Path, number: signal.Signals
) -> None:
    root = tmp_path / "root"
    with start(captures, root, "--workers", "2", WALKAROUND_TEST_SLOW_S="30") as driver:
        children = wait_until(lambda: len(builds(driver.pid)) == 2 and builds(driver.pid))
        wait_until(lambda: list(root.glob("[!.]*/*/sequence.json")))
        driver.send_signal(number)
        _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert err.count("interrupted; the same command continues") == 1 and "Traceback" not in err
    assert all(gone(pid) for pid in children)
    assert json.loads((root / ".work/batch/progress.json").read_text())["state"] == "interrupted"
    assert build(captures, root, "--workers", "2")[0] == 0
    assert dataset(root) == undisturbed


def test_bad_captures_among_good_ones(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """Crash, hang, bug: tried twice, then set aside with a log. Corrupt: rejected. The others: as ever."""
    bad = {"cup/secret.mp4": "segfault", "cup/stuck.mp4": "hang", "mug/bug.mp4": "boom"}
    rest = {"mug/torn.mp4": "corrupt", "mug/flaky.mp4": "once"}
    captures = collection(tmp_path / "captures", {**FINE, **bad, **rest})
    root = tmp_path / "root"
    command = ("--workers", "2", "--stage-time-limit-s", "3", "--json")
    code, out, err = build(captures, root, *command)
    assert code == 1
    *lines, total = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 8 and len({line["key"] for line in lines}) == 8
    found = sorted((line["outcome"], line["message"].partition(" ")[0]) for line in lines)
    assert found == [
        *[("accepted", "")] * 4,
        ("failed", "OutOfTime"), ("failed", "RuntimeError"), ("failed", "SIGSEGV"),
        ("rejected", "the"),
    ]  # fmt: skip
    assert total["total"]["failed"] == 3 and total["total"]["reasons"] == {"unreadable_input": 1}
    logs = {path.stem: path.read_text() for path in (root / ".work/batch/failed").iterdir()}
    assert set(logs) == {line["key"] for line in lines if line["outcome"] == "failed"}
    assert all("== attempt 1" in log and "== attempt 2" in log for log in logs.values())
    told = "".join(logs.values()) + (root / ".work/batch/journal.jsonl").read_text()
    assert not any(name in told for name in ("secret", "stuck", "bug.mp4", "torn", "captures"))
    (flaky,) = [line for line in lines if line["outcome"] == "accepted" and line["key"] in err]
    good = {name: data for name, data in dataset(root).items() if name in undisturbed}
    for name in ("catalog.parquet", "dataset.json"):
        del good[name]
    assert good == {name: data for name, data in undisturbed.items() if name in good}
    assert set(undisturbed) - set(good) == {"catalog.parquet", "dataset.json"}
    before = dataset(root)
    code, out, err = build(captures, root, *command)
    assert code == 1 and "7 of them before" in err and "process died" not in err
    assert dataset(root) == before
    assert flaky["class_label"] == "mug"


def test_what_was_set_aside_can_be_tried_again(tmp_path: Path) -> None:
    captures = collection(tmp_path / "captures", {"mug/a.mp4": "slow", "mug/b.mp4": "once"})
    root = tmp_path / "root"
    assert build(captures, root, "--retries", "0")[0] == 1
    assert build(captures, root, "--retries", "0")[0] == 1
    assert build(captures, root, "--retry-failed")[0] == 0
    assert not list((root / ".work/batch/failed").iterdir())
    assert len(read_catalog(root)) == 2
    assert build(captures, root)[0] == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A disk of 1 MB, and a function that makes it larger or read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options: str) -> bool:
        command = ["mount", *options, str(folder)]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    if not mount("-t", "tmpfs", "-o", "size=1m", "none"):
        pytest.skip("cannot mount a small disk here")
    yield folder, lambda option: mount("-o", f"remount,{option}") or pytest.fail("cannot remount")
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_the_batch_with_one_message(
    captures: Path, undisturbed: dict[str, bytes], small_disk: tuple[Path, Callable[[str], None]]
) -> None:
    folder, remount = small_disk
    root = folder / "root"
    code, _, err = build(captures, root, "--workers", "2")
    assert code == 2
    assert err.count("error: ") == 1 and "disk is full" in err and "died" not in err
    remount("size=400m")
    assert build(captures, root, "--workers", "2")[0] == 0
    assert dataset(root) == undisturbed


def test_a_disk_that_fills_up_in_the_middle(
    captures: Path, undisturbed: dict[str, bytes], small_disk: tuple[Path, Callable[[str], None]]
) -> None:
    folder, remount = small_disk
    remount("size=400m")
    root = folder / "root"
    with start(captures, root, "--workers", "1") as driver:
        wait_until((root / "catalog.parquet").exists)
        with (folder / "ballast").open("wb") as ballast:
            try:
                while True:
                    ballast.write(bytes(1 << 16))
                    ballast.flush()
            except OSError:
                pass
        _, err = driver.communicate(timeout=60)
    assert driver.returncode == 2 and err.count("error: ") == 1 and "disk is full" in err
    (folder / "ballast").unlink()
    assert build(captures, root, "--workers", "2")[0] == 0
    assert dataset(root) == undisturbed


def test_a_read_only_output(
    captures: Path, undisturbed: dict[str, bytes], small_disk: tuple[Path, Callable[[str], None]]
) -> None:
    folder, remount = small_disk
    remount("ro")
    code, _, err = build(captures, folder / "root", "--workers", "2")
    assert code == 2 and err.count("error: ") == 1 and "cannot be written" in err
    remount("rw,size=400m")
    assert build(captures, folder / "root", "--workers", "2")[0] == 0
    assert dataset(folder / "root") == undisturbed


REAL = ("--cameras.learned", "off", "--depth.max-size", "160", "--masks.grid", "64")


@pytest.fixture(scope="module")
def real_captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rendered walk-arounds."""
    folder = tmp_path_factory.mktemp("real")
    for seed in (1, 2, 3):
        options = SimulateOptions(size=(320, 240), num_frames=12, arc_deg=140, seed=seed, samples=1)
        made = simulate_capture(folder / f"made{seed}", options=options)
        target = folder / "captures" / ("mug" if seed < 3 else "cup") / f"{seed}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        made.video_path.rename(target)
    return folder / "captures"


@pytest.mark.skipif("WALKAROUND_KILL_ALL" not in os.environ, reason="WALKAROUND_KILL_ALL is not set")
def test_twenty_random_kills_with_real_stages(real_captures: Path, tmp_path: Path) -> None:
    """Something is killed at a random moment, then the same command runs again. Ten minutes and more.

    Writes what happened to ``campaign.txt`` in the test's folder.
    """
    started = time.monotonic()
    assert build(real_captures, tmp_path / "undisturbed", "--workers", "2", *REAL, fakes=False)[0] in (0, 3)
    whole_s = time.monotonic() - started
    expected = dataset(tmp_path / "undisturbed")
    rng = random.Random(os.environ["WALKAROUND_KILL_ALL"])
    kinds = ("worker", "driver", "ray worker", "ray node")
    for run in range(20):
        root, kind = tmp_path / f"run{run}", kinds[run % 4]
        moment_s = rng.uniform(0.0, whole_s)
        hit = _disturb(kind, real_captures, root, tmp_path, moment_s)
        assert build(real_captures, root, "--workers", "2", *REAL, fakes=False)[0] in (0, 3)
        found = dataset(root)
        other = [name for name in {*found, *expected} if found.get(name) != expected.get(name)]
        with (tmp_path / "campaign.txt").open("a") as log:
            did = "killed" if hit else "had ended or not begun"
            log.write(f"{run} {kind} {did} after {moment_s:.1f} of {whole_s:.1f} s, {other=}\n")
        assert not other
        assert sorted(row["instance_id"] for row in read_catalog(root)) == sorted(
            path.parent.name for path in root.glob("[!.]*/*/sequence.json")
        )


def _disturb(kind: str, captures: Path, root: Path, folder: Path, moment_s: float) -> bool:
    """Run a batch and kill something of it; return whether it was there."""
    if not kind.startswith("ray"):
        with start(captures, root, "--workers", "2", *REAL, fakes=False) as driver:
            time.sleep(moment_s)
            victims = builds(driver.pid) if kind == "worker" else [driver.pid]
            hit = bool(victims) and kill(victims[0])
            driver.communicate(timeout=600)
            return hit
    with ray_nodes(folder, fakes=False) as nodes:
        command = ("--runner", "ray", "--ray-address", nodes.address)
        with start(captures, root, *command, *REAL, fakes=False) as driver:
            wait_until(lambda: driver.poll() is not None or nodes.workers())
            time.sleep(moment_s)
            busy = driver.poll() is None
            if kind == "ray worker":
                hit = bool(workers := nodes.workers()) and kill(workers[0])
            else:
                hit = busy and nodes("kill") == nodes("add") == "done"
            driver.communicate(timeout=600)
            return hit
