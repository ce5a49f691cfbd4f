"""The Ray runner: the same dataset as the local one, also when workers and nodes are killed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batches import (
    Nodes,
    build,
    collection,
    command_line,
    dataset,
    gone,
    kill,
    outcomes,
    ray_nodes,
    start,
    wait_until,
)
from walkaround.depth import DepthOptions
from walkaround.errors import UsageError
from walkaround.pipeline import BuildOptions
from walkaround.runners._memory import process_tree
from walkaround.runners.options import BatchOptions
from walkaround.runners.ray import RayRunner, StageBoard, _with_parts
from walkaround.runners.task import Job

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
CAPTURES = {f"{label}/{number}.mp4": "slow" for label in ("cup", "mug") for number in (1, 2)}


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collection(tmp_path_factory.mktemp("captures"), CAPTURES)


@pytest.fixture(scope="module")
def undisturbed(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("local") / "root"
    assert build(captures, root)[0] == 0
    return dataset(root)


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'walkaround\[ray\]'"):
        RayRunner(Job(root=tmp_path, build=BuildOptions()), options=BatchOptions(), progress=lambda *_: None)


def test_a_chain_of_tasks_where_a_stage_needs_a_gpu(tmp_path: Path) -> None:
    job = Job(root=tmp_path, build=BuildOptions())
    assert _with_parts(job).parts == (None,)
    gpu = BuildOptions(depth=DepthOptions(backend="colmap_cuda"))
    assert _with_parts(Job(root=tmp_path, build=gpu)).parts == ("cameras", "depth", None)


def test_what_tasks_say_about_their_stages() -> None:
    board = StageBoard()
    board.say("a", "frames", 0.5)
    board.say("a", "cameras", 0.0)
    board.say("b", "depth", 1.0)
    assert board.drain() == {"a": ("cameras", 0.0), "b": ("depth", 1.0)}
    assert board.drain() == {}


@needs_ray
def test_no_cluster_at_the_address(captures: Path, tmp_path: Path) -> None:
    address = ("--runner", "ray", "--ray-address", "127.0.0.1:1")
    code, _, err = build(captures, tmp_path / "root", *address)
    assert code == 2 and "There is no Ray cluster at --ray-address 127.0.0.1:1 " in err


@needs_ray
def test_a_ray_of_this_machine(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    """Ended by SIGTERM, then to its end, with deaths and rejections; nothing of Ray stays."""
    captures = collection(tmp_path / "captures", {**CAPTURES, "mug/x.mp4": "abort", "mug/y.mp4": "corrupt"})
    root = tmp_path / "root"
    with start(captures, root, "--runner", "ray", WALKAROUND_TEST_SLOW_S="60") as driver:
        wait_until(lambda: list(root.glob("[!.]*/*/sequence.json")))
        ours = process_tree(driver.pid)
        driver.terminate()
        _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130 and "SIGTERM" not in err and "interrupted" in err
    wait_until(lambda: all(gone(pid) for pid in ours))
    with start(captures, root, "--runner", "ray", "--workers", "2") as driver:
        wait_until(lambda: raylets(driver.pid))
        ours = process_tree(driver.pid)
        _, err = driver.communicate(timeout=300)
    assert driver.returncode == 1 and "4 accepted, 1 rejected (1 unreadable_input), 1 failed" in err
    found = dataset(root)
    same = [name for name in undisturbed if name not in ("catalog.parquet", "dataset.json")]
    assert {name: found[name] for name in same} == {name: undisturbed[name] for name in same}
    wait_until(lambda: all(gone(pid) for pid in ours))


def raylets(pid: int) -> list[int]:
    return [child for child in process_tree(pid) if b"raylet/raylet" in command_line(child)]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with ray_nodes(tmp_path) as cluster:
        yield cluster


@needs_ray
def test_a_killed_worker_and_a_killed_node(captures: Path, nodes: Nodes, tmp_path: Path) -> None:
    """With a stage on a GPU, so that each sequence is a chain of three tasks."""
    gpu = ("--depth.backend", "colmap_cuda")
    assert build(captures, tmp_path / "undisturbed", *gpu)[0] == 0
    root = tmp_path / "root"
    command = ("--runner", "ray", "--ray-address", nodes.address, *gpu)
    with start(captures, root, *command, WALKAROUND_TEST_SLOW_S="2") as driver:
        wait_until(nodes.builds)
        assert kill(nodes.workers()[0])
        wait_until(lambda: (root / "catalog.parquet").exists())
        wait_until(nodes.builds)
        assert nodes("kill") == "done"
        assert nodes("add") == "done"
        _, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, err
    assert dataset(root) == dataset(tmp_path / "undisturbed")
    assert sorted(outcomes(root).values()) == [["accepted"]] * 4
