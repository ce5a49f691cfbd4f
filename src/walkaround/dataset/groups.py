"""Groups of names that pairs connect."""

from __future__ import annotations

from collections.abc import Iterable


def connected(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Return the groups that pairs connect, each sorted; a name that is paired with itself is a group.

    Union-find with path halving.
    """
    parent: dict[str, str] = {}

    def top(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for a, b in pairs:
        parent[top(a)] = top(b)
    groups: dict[str, list[str]] = {}
    for name in parent:
        groups.setdefault(top(name), []).append(name)
    return tuple(sorted(tuple(sorted(group)) for group in groups.values()))
