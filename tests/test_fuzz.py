"""Damaged files of every kind: read, or refused with an error of ours; no crash, hang or file beside ROOT.

A short run each time. A campaign: ``WALKAROUND_FUZZ_CASES=20000 pytest tests/test_fuzz.py -s``, from another
case on with ``WALKAROUND_FUZZ_START``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz_targets import CAMPAIGN, TARGETS
from tests.fuzzing import campaign, summary

CASES = CAMPAIGN or 40
START = int(os.environ.get("WALKAROUND_FUZZ_START", "0"))


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files(name: str, tmp_path: Path) -> None:
    report = campaign(name, tmp_path / "cases", start=START, count=CASES)
    if CAMPAIGN:
        print(summary({name: report}))
    assert not report.findings, "\n".join(report.findings[:20])
    assert report.cases == CASES and (report.refused > 0 or name == "journal")
    assert [path.name for path in tmp_path.iterdir()] == ["cases"]
