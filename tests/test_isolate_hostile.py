"""A child that a hostile file has taken over: nothing that it sends runs in the parent, or fools it."""

from __future__ import annotations

import json
import logging
import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import isolated_tasks as tasks
from tests.test_isolate import call, has_ended
from walkaround.errors import InputError, ProcessDied
from walkaround.runners._channel import BrokenChannelError, FrameReader, event_of, frame
from walkaround.runners.isolate import IsolatedCall


class Bomb:
    """A pickle that runs a command where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def sent(*event: Any) -> bytes:
    return frame(json.dumps(event).encode())


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    with (
        IsolatedCall(tasks.send_raw, (frame(bomb),)) as running,
        pytest.raises(ProcessDied, match=r"no event of a build in the stage 'depth'.*hostile file") as caught,
    ):
        running.wait()
    assert caught.value.stage == "depth" and has_ended(running.pid)
    assert not (tmp_path / "ran").exists()


SCORES = {"~": "dict", "items": [["arc_deg", "wide"]]}


@pytest.mark.parametrize(
    "data",
    [
        (1 << 62).to_bytes(8, "big") + b"x" * 100,
        frame(b""),
        frame(b"[]"),
        frame(b"{}"),
        frame(b"[" * 100_000),
        sent("unknown"),
        sent("progress", "depth"),
        sent("progress", "depth", "x"),
        sent("log", "walkaround", "high", "text", 0.0),
        sent("returned", {"~": "record", "record": {"schema_version": 1}}),
        sent("returned", {"~": "eval", "items": "1"}),
        sent("returned", {"~": "dict", "items": [[{"~": "dict", "items": []}, 1]]}),
        sent("returned", {"a": 1}),
        sent("raised", {"kind": "SystemExit", "fields": [0]}, "", ""),
        sent("raised", {"kind": "KeyboardInterrupt", "fields": []}, "", ""),
        sent("raised", {"kind": "eval", "fields": ["1"]}, "", ""),
        sent("raised", {"kind": "InputError", "fields": [1]}, "", ""),
        sent("raised", {"kind": "SequenceRejected", "fields": ["a", "b", SCORES]}, "", ""),
    ],
    ids=range(18),
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenChannelError):
        for piece in FrameReader().feed(data):
            event_of(piece)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_refused(data: bytes) -> None:
    with suppress(BrokenChannelError):
        event_of(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["~", "items", "base64", "record", "kind", "fields"]), inner, max_size=3
        )
        | st.fixed_dictionaries(
            {
                "~": st.sampled_from(["tuple", "dict", "bytes", "path", "record"]),
                "items": st.lists(inner, max_size=2),
            }
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(["progress", "log", "returned", "raised"]), st.lists(json_values, max_size=4))
def test_any_json_is_an_event_or_refused(kind: str, fields: list[Any]) -> None:
    with suppress(BrokenChannelError):
        event_of(json.dumps([kind, *fields]).encode())


def test_nothing_reaches_the_terminal(caplog: pytest.LogCaptureFixture) -> None:
    """Escape sequences in names, log lines and messages."""
    evil = "\x1b]0;owned\x07\x9b31m%s%d"
    data = (
        sent("progress", evil * 100, 0.5)
        + sent("log", "walkaround.evil", logging.WARNING, evil, 0.0)
        + sent("raised", {"kind": "InputError", "fields": [evil, {"~": "dict", "items": []}]}, evil, evil)
    )
    stages: list[str] = []
    with pytest.raises(InputError) as caught:
        call(tasks.send_raw, data, progress=lambda stage, _: stages.append(stage))
    assert stages[0] == "depth" and len(stages[1]) <= 80
    said = [*stages, *(record.getMessage() for record in caplog.records), str(caught.value)]
    assert len(said) == 4 and all(text.isprintable() for text in said)
    assert "%s%d" in said[2]
