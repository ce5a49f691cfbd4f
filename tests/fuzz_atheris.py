"""Coverage-guided fuzzing of readers written in Python: ``python -m tests.fuzz_atheris TARGET -runs=100000``.

Needs atheris (libFuzzer for Python), which is no dependency of the tests. The corpus is that of
tests/fuzz_targets.py; what is found is written as ``crash-...`` into the working folder.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["walkaround", "zipfile", "tarfile", "json"]):
    from tests.fuzz_targets import TARGETS
    from walkaround.errors import WalkaroundError
    from walkaround.io.exif import read_exif
    from walkaround.io.image_size import stated_size_wh
    from walkaround.runners._channel import BrokenChannelError, event_of


_EVENTS = {
    "progress": b'["progress", "depth", 0.5]',
    "log": b'["log", "walkaround", 20, "text", 1.0]',
    "returned": b'["returned", {"~": "dict", "items": [["a", {"~": "tuple", "items": [1, null]}]]}]',
    "raised": b'["raised", {"kind": "InputError", "fields": ["a", {"~": "dict", "items": []}]}, "", ""]',
}


def main() -> None:
    """Run libFuzzer on one target, or on ``channel`` or ``header``, which need no files."""
    name = sys.argv.pop(1)
    folder = Path(tempfile.mkdtemp(prefix="walkaround-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    if name in TARGETS:
        (folder / "seeds").mkdir()
        seeds = TARGETS[name].seeds(folder / "seeds")
        place = folder / "in" / sorted(seeds)[0]
    else:
        seeds = TARGETS["photo"].seeds(folder) if name == "header" else _EVENTS
        place = folder
    for number, data in enumerate(seeds.values()):
        (corpus / str(number)).write_bytes(data)

    def one(data: bytes) -> None:
        if name == "channel":
            with suppress(BrokenChannelError):
                event_of(data)
        elif name == "header":
            stated_size_wh(data)
            read_exif(data)
        else:
            shutil.rmtree(folder / "root", ignore_errors=True)
            (folder / "root").mkdir()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            with suppress(WalkaroundError):
                TARGETS[name].read(place, folder / "root")

    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[1:]], one)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
