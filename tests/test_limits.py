"""Options out of range are refused before any work starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from walkaround.errors import UsageError
from walkaround.limits import LIMITS, check_limits
from walkaround.pipeline import BuildOptions, build_sequence


def test_defaults_are_within_limits_and_every_limit_names_an_option() -> None:
    options = dataclasses.asdict(BuildOptions())
    check_limits(options)
    for name in LIMITS:
        value: Any = options
        for part in name.split("."):
            value = value[part]


@pytest.mark.parametrize("name", LIMITS)
def test_too_small_is_refused(name: str) -> None:
    options = dataclasses.asdict(BuildOptions())
    *stage, field = name.split(".")
    place = options[stage[0]] if stage else options
    place[field] = LIMITS[name][0] - 1
    with pytest.raises(UsageError, match="out of range"):
        check_limits(options)


@pytest.mark.parametrize(
    "change",
    [
        {"depth": {"backend": "foo"}},
        {"depth": {"backend": "colmap_cuda", "fill": True}},
        {"depth": {"backend": "colmap_cuda", "complete": True}},
        {"masks": {"model": "nowhere.onnx"}},
    ],
)
def test_unknown_backend_and_missing_model(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check_limits(change)


def test_build_checks_before_it_reads(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="threads"):
        build_sequence(tmp_path / "missing.mp4", tmp_path / "out", options=BuildOptions(threads=-2))
    assert not (tmp_path / "out").exists()
