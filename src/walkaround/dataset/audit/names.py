"""Which file a camera's image name means, when no file has just that name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import PurePosixPath


def match_names(named: Collection[str], files: Collection[str]) -> dict[str, str]:
    """Return name in the cameras -> file, for names that no file has but that one file clearly means.

    Tried in turn, each only between what is still unmatched and only where one fits one: without folders, in
    any case of letters, with any suffix, by the number at the end (``frame_7.png`` for ``007.jpg``).
    """
    lost = [name for name in dict.fromkeys(named) if name not in files]
    taken = set(named)
    free = [file for file in files if file not in taken]
    found: dict[str, str] = {}
    for simplify in (_plain, _folded, _stem, _number):
        found |= _pairs(
            [name for name in lost if name not in found],
            [file for file in free if file not in found.values()],
            simplify,
        )
    return found


def _pairs(lost: list[str], free: list[str], simplify: Callable[[str], str]) -> dict[str, str]:
    by_key: dict[str, list[str]] = {}
    for file in free:
        by_key.setdefault(simplify(file), []).append(file)
    wanted: dict[str, list[str]] = {}
    for name in lost:
        wanted.setdefault(simplify(name), []).append(name)
    return {
        names[0]: by_key[key][0]
        for key, names in wanted.items()
        if key and len(names) == 1 and len(by_key.get(key, ())) == 1
    }


def _plain(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _folded(name: str) -> str:
    return _plain(name).casefold()


def _stem(name: str) -> str:
    return PurePosixPath(_folded(name)).stem


def _number(name: str) -> str:
    match = re.search(r"(\d+)$", _stem(name))
    return str(int(match[1])) if match else ""
