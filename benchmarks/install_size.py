"""What the core install takes on disk, by package: ``python benchmarks/install_size.py``.

Installs this checkout with pip into a fresh virtual environment, versions from constraints.txt, and adds up
the files that each package brought along, byte code included. With ``--here`` nothing is installed: the
packages that walkaround needs are measured as they lie in the running environment. MB are 10^6 bytes.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import tyro
from accuracy import commit, machine

from walkaround import __version__

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure the core install."""

    here: bool = False
    """Measure the running environment instead of a fresh one."""
    smallest_mb: float = 1.0
    """Smaller packages share one line."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed distribution."""

    name: str
    version: str
    num_bytes: int
    num_byte_code: int
    """Of these, compiled Python."""


def main(arguments: Arguments) -> None:
    """Print the table."""
    if not arguments.here:
        in_fresh_environment(arguments)
        return
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = sorted(
        needed([project["name"], *project["dependencies"]]), key=lambda package: -package.num_bytes
    )
    print(f"machine: {machine()}; {platform.system()} {platform.machine()}, Python "
          f"{platform.python_version()}; walkaround {__version__}, commit {commit()}")  # fmt: skip
    print(f"{'package':28}{'version':>14}{'MB':>9}{'byte code':>11}")
    small = [p for p in packages if p.num_bytes < 1e6 * arguments.smallest_mb]
    for package in packages:
        if package not in small:
            print_row(package.name, package.version, [package])
    if small:
        print_row(f"{len(small)} smaller ones", "", small)
    print_row("total", "", packages)


def print_row(name: str, version: str, packages: list[Package]) -> None:
    """Print one line of the table."""
    total = sum(package.num_bytes for package in packages)
    byte_code = sum(package.num_byte_code for package in packages)
    print(f"{name:28}{version:>14}{total / 1e6:9.1f}{byte_code / 1e6:11.1f}")


def in_fresh_environment(arguments: Arguments) -> None:
    """Install into a temporary environment and let its Python measure itself."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "environment")
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        python = folder / "bin" / "python"
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-c", str(CHECKOUT / "constraints.txt"), str(CHECKOUT)], check=True)
        again = [str(python), __file__, "--here", "--smallest-mb", str(arguments.smallest_mb)]
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(again, check=True, env=clean)


def needed(requirements: list[str]) -> list[Package]:
    """Return the distributions that these requirements name and all that those need, without extras."""
    found: dict[str, Package] = {}
    waiting = list(requirements)
    while waiting:
        wanted, _, marker = waiting.pop().partition(";")
        name = re.split(r"[^A-Za-z0-9._-]", wanted.strip(), maxsplit=1)[0]
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found or "extra" in marker:
            continue
        try:
            distribution = importlib.metadata.distribution(key)
        except importlib.metadata.PackageNotFoundError:  # for another system or Python
            continue
        found[key] = measure(distribution)
        waiting += distribution.requires or []
    return list(found.values())


def measure(distribution: importlib.metadata.Distribution) -> Package:
    """Add up the files of a distribution."""
    total = byte_code = 0
    for file in distribution.files or []:
        path = Path(str(distribution.locate_file(file)))
        if path.is_file():
            total += path.stat().st_size
            byte_code += path.stat().st_size if path.suffix == ".pyc" else 0
    return Package(
        name=distribution.metadata["Name"], version=distribution.version,
        num_bytes=total, num_byte_code=byte_code,
    )  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Arguments))
