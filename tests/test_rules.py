"""The table of rules, and its copy in the docs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from walkaround.quality.rules import RULES, RULES_BY_CODE, Rule, judge

DOCS = Path(__file__).parents[1] / "docs"


def test_codes_are_unique_and_well_formed() -> None:
    assert len(RULES_BY_CODE) == len(RULES)
    for rule in RULES:
        assert rule.verdict in ("reject", "warn")
        assert rule.code.isidentifier() and rule.text.endswith(".")
        assert math.isfinite(rule.low) != math.isfinite(rule.high), "one limit a rule"


@pytest.mark.parametrize("rule", RULES, ids=[rule.code for rule in RULES])
def test_each_rule_is_in_the_docs(rule: Rule) -> None:
    lines = (DOCS / "capture.md").read_text(encoding="utf-8").splitlines()
    row = next((line for line in lines if line.startswith(f"| `{rule.code}` |")), None)
    assert row is not None, f"docs/capture.md does not list {rule}"
    limit = rule.low if math.isfinite(rule.low) else rule.high
    sign = "under" if math.isfinite(rule.low) else "over"
    assert f"| `{rule.score}` | {sign} {limit:g} | {rule.verdict} |" in row


def test_no_code_of_the_past_is_in_the_docs() -> None:
    lines = (DOCS / "capture.md").read_text(encoding="utf-8").splitlines()
    listed = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert listed == [rule.code for rule in RULES]


@pytest.mark.parametrize("rule", RULES, ids=[rule.code for rule in RULES])
def test_each_rule_can_be_missed_and_met(rule: Rule) -> None:
    low, high, score = rule.low, rule.high, rule.score
    outside = low - 1e-3 if math.isfinite(low) else high + 1e-3
    limit = low if math.isfinite(low) else high
    status, codes = judge({score: outside})
    assert rule.code in codes
    assert status == "rejected" or rule.verdict == "warn"
    assert rule.code not in judge({score: limit})[1]
    assert rule.code in judge({score: math.nan})[1]


def test_nothing_measured_is_not_a_miss() -> None:
    assert judge({}) == ("accepted", [])
