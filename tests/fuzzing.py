"""Feed damaged files to a reader in a process of its own, and report everything but our own errors."""

from __future__ import annotations

import json
import random
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz_targets import TARGETS, Target
from walkaround.errors import ProcessDied, WalkaroundError
from walkaround.runners.isolate import IsolatedCall

CASE_LIMIT_S = 60.0
MEMORY_LIMIT_MB = 1200.0
_ODD_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63]
_ODD_VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, float("nan"), float("-inf"), "", "../../x", "/etc/x",
    "a\0b", "\ud800", "<script>alert(1)</script>", "'; DROP TABLE catalog; --", "x" * 10_000, [], {}, [[]],
]  # fmt: skip
_TOKENS = [
    b"\0",
    b'"',
    b"\n",
    b"\r",
    b",",
    b";",
    b"-1",
    b"1e999",
    b"NaN",
    b"..\x2f",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"{",
    b"[",
]


@dataclass
class Report:
    """What a campaign found."""

    cases: int = 0
    read: int = 0
    refused: int = 0
    findings: list[str] = field(default_factory=list)


def mutated(rng: random.Random, seeds: list[bytes], *, is_text: bool) -> bytes:
    """Return one of the seeds, damaged in a few places, mostly near its ends, where headers are."""
    data = bytearray(rng.choice(seeds))
    if is_text and rng.random() < 0.5 and data[:1] in b"{[":
        return json.dumps(
            _odd_json(rng, json.loads(data.splitlines()[0] if b"}\n{" in data else data))
        ).encode()
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8, 30])):
        if not data:
            break
        at = _place(rng, len(data))
        kind = rng.randrange(8)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:
            size = rng.choice([1, 2, 4, 8])
            number = (rng.choice(_ODD_NUMBERS) + rng.choice([-1, 0, 0, 1])) % (1 << 8 * size)
            data[at : at + size] = number.to_bytes(size, rng.choice(["big", "little"]))
        elif kind == 3:
            del data[at : at + rng.choice([1, 4, 16, 200])]
        elif kind == 4:
            data[at:at] = data[at : at + rng.choice([1, 8, 64, 1000])]
        elif kind == 5:
            data[at:at] = rng.choice(_TOKENS) if is_text else rng.randbytes(rng.choice([1, 4, 50]))
        elif kind == 6:
            other = rng.choice(seeds)
            start = _place(rng, len(other))
            data[at : at + 64] = other[start : start + rng.choice([16, 64, 500])]
        else:
            del data[at:]
    return bytes(data)


def _place(rng: random.Random, size: int) -> int:
    near = min(size, 600)
    return min(
        size - 1, rng.choice([rng.randrange(near), size - 1 - rng.randrange(near), rng.randrange(size)])
    )


def _odd_json(rng: random.Random, value: Any) -> Any:
    """Replace, remove or add one thing somewhere in a JSON value."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return rng.choice(_ODD_VALUES)
    key: Any = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    kind = rng.randrange(6)
    if kind == 0:
        del value[key]
    elif kind == 1 and isinstance(value, dict):
        value[str(rng.choice(_ODD_VALUES))] = value[key]
    elif kind == 2 and isinstance(value, list):
        value.append(rng.choice(_ODD_VALUES))
    else:
        value[key] = _odd_json(rng, value[key])
    return value


def feed(
    name: str, folder: Path, start: int, count: int, *, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Feed ``count`` damaged files to a target, from case number ``start`` on. Runs in a child.

    Each case is a stage, so that a time limit for stages is one for cases.
    """
    target = TARGETS[name]
    inputs, root = folder / "in", folder / "root"
    seeds = target.seeds(_fresh(folder / "seeds"))
    written = _watch_writes(folder)
    found: dict[str, Any] = {"cases": 0, "read": 0, "refused": 0, "findings": []}
    found["findings"] += _refused_seeds(target, seeds, inputs, root)
    for case in range(start, start + count):
        progress(f"case {case}", 0.0)
        path = _write_case(random.Random(f"{name} {case}"), target, seeds, _fresh(inputs))
        found["cases"] += 1
        try:
            target.read(path, _fresh(root))
            found["read"] += 1
        except WalkaroundError:
            found["refused"] += 1
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{name} case {case}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
            found["findings"].append(text[:400])
        found["findings"] += [f"{name} case {case} wrote {outside}" for outside in written]
        written.clear()
    return found


def _refused_seeds(target: Target, seeds: dict[str, bytes], inputs: Path, root: Path) -> list[str]:
    """Return what is wrong with undamaged files: nothing, or damaging them would tell nothing."""
    refused = []
    for name in sorted(seeds):
        _fresh(inputs)
        for other, data in seeds.items():
            if other == name or "/" in name:
                (inputs / other).parent.mkdir(parents=True, exist_ok=True)
                (inputs / other).write_bytes(data)
        try:
            target.read(inputs / name, _fresh(root))
        except WalkaroundError as error:
            refused.append(f"undamaged {name}: {error}")
    return refused


def _write_case(rng: random.Random, target: Target, seeds: dict[str, bytes], inputs: Path) -> Path:
    """Write one damaged file; where files belong together, the others beside it as they were."""
    damaged = rng.choice(sorted(seeds))
    together = "/" in damaged
    for name, data in seeds.items():
        if name == damaged or together:
            path = inputs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            others = [data] if together else list(seeds.values())
            path.write_bytes(mutated(rng, others, is_text=target.is_text) if name == damaged else data)
    return inputs / damaged


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _watch_writes(folder: Path) -> list[str]:
    """Note what Python opens for writing, makes, moves or removes outside a folder, starts or connects to."""
    noted: list[str] = []
    allowed = (str(folder), "/dev/null", "/proc/self")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (mode is None and flags & 3)
            if not writes or isinstance(path, int):
                return
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.truncate", "os.chmod"):
            path = arguments[0]
        elif event in ("os.rename", "os.link"):
            path = arguments[1]
        elif event in ("subprocess.Popen", "os.system", "socket.connect", "os.exec"):
            noted.append(f"{event} {arguments!r:.100}")
            return
        else:
            return
        name = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
        if name.startswith("/") and not name.startswith(allowed) and "__pycache__" not in name:
            noted.append(f"{event} {name}")

    sys.addaudithook(hook)
    return noted


def campaign(name: str, folder: Path, *, start: int, count: int) -> Report:
    """Run cases in a child; one that dies or hangs is a finding, and the next child goes on behind it."""
    report, at, end = Report(), start, start + count
    while at < end:
        call = IsolatedCall(
            feed,
            (name, folder, at, end - at),
            stage_timeout_s=CASE_LIMIT_S,
            memory_limit_mb=MEMORY_LIMIT_MB,
        )
        try:
            with call:
                found = call.wait()
            at = end
        except ProcessDied as death:
            case = int(death.stage.removeprefix("case ") or at) if death.stage else at
            found = {
                "findings": [f"{name} case {case}: {type(death).__name__} {death!s:.300}"],
                "cases": case + 1 - at,
            }
            at = case + 1
        report.cases += found["cases"]
        report.read += found.get("read", 0)
        report.refused += found.get("refused", 0)
        report.findings += found["findings"]
    return report


def summary(reports: dict[str, Report]) -> str:
    """Return a table of counts."""
    lines = [f"{'target':<10} {'cases':>8} {'read':>8} {'refused':>8} {'findings':>8}"]
    for name, one in reports.items():
        lines.append(f"{name:<10} {one.cases:>8} {one.read:>8} {one.refused:>8} {len(one.findings):>8}")
    kinds = Counter(finding.split(":", 1)[-1][:90] for one in reports.values() for finding in one.findings)
    return "\n".join([*lines, *(f"{number:>6} {kind}" for kind, number in kinds.most_common(40))])
