"""The table of rules, and its copy in the docs."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from walkaround.quality.rules import RULES, RULES_BY_CODE, Rule, judge
from walkaround.runners.task import DUPLICATE, NO_CONSENT, UNREADABLE

DOCS = Path(__file__).parents[1] / "docs"


def test_codes_are_unique_and_well_formed() -> None:
    assert len(RULES_BY_CODE) == len(RULES)
    for rule in RULES:
        assert rule.verdict in ("reject", "warn")
        assert rule.code.isidentifier() and rule.text.endswith(".")
        assert math.isfinite(rule.low) != math.isfinite(rule.high), "one limit a rule"


def advice() -> dict[str, str]:
    """Return what docs/rejected.md says of each code, in its order."""
    page = (DOCS / "rejected.md").read_text(encoding="utf-8")
    parts = re.split(r"^### `(\w+)`$", page, flags=re.MULTILINE)
    return {code: text.split("\n#")[0].strip() for code, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("rule", RULES, ids=[rule.code for rule in RULES])
def test_the_docs_say_what_each_rule_means_and_what_to_do(rule: Rule) -> None:
    text = advice()[rule.code]
    limit = rule.low if math.isfinite(rule.low) else rule.high
    sign = "under" if math.isfinite(rule.low) else "over"
    verb = "Rejects" if rule.verdict == "reject" else "Warns"
    said, _, remedy = text.partition("\n\n*Do:* ")
    assert said.startswith(f"{verb} when `{rule.score}` is {sign} {limit:g}. "), said
    assert len(said.split(". ", 1)[1]) > 20 and len(remedy) > 20


def test_the_docs_list_the_codes_of_today_in_their_order() -> None:
    assert list(advice()) == [*RULES_BY_CODE, UNREADABLE, NO_CONSENT, DUPLICATE]


def test_no_stage_rejects_with_a_code_that_the_docs_lack() -> None:
    raised = set()
    for path in (DOCS.parent / "src").rglob("*.py"):
        if not path.name.startswith("repair"):  # their codes are those of an audit
            raised |= set(re.findall(r'SequenceRejected\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    assert {"cameras_failed", "no_consent"} <= raised <= set(advice())


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
