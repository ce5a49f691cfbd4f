"""Shared fixtures: fake stages, the shared captures."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests import fakes

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def fake_stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Replace every slow stage by its fake of tests/fakes.py; builds stay in this process."""
    importlib.import_module("walkaround.pipeline")  # before the patches, or it would keep a fake for good
    for target, function in fakes.PATCHES.items():
        module, name = target.rsplit(".", 1)
        monkeypatch.setattr(importlib.import_module(module), name, function, raising=False)
    monkeypatch.setattr("walkaround.commands.build.build_isolated", fakes.build_isolated)
    fakes.calls.clear()
    fakes.scores.clear()
    yield fakes
    fakes.scores.clear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Some input with a telling name."""
    path = tmp_path / "Oma Müllers Küche IMG_1234.mp4"
    path.write_bytes(b"a video")
    return path


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The shared captures; the test is skipped, visibly, without them."""
    folder = os.environ.get("WALKAROUND_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("WALKAROUND_TEST_DATA is not set to the shared captures")
    return Path(folder)


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered dataset: two mugs, two bottles, ten views of 32 pixels each; not to be written to."""
    from walkaround.simulate.dataset_options import SimulateDatasetOptions
    from walkaround.simulating import simulate_dataset

    root = tmp_path_factory.mktemp("toys")
    options = SimulateDatasetOptions(classes=2, instances=2, views=10, size=32)
    simulate_dataset(root, options=options, workers=1)
    return root
