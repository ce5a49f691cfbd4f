"""``walkaround view``."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, say, set_up_logging, show


@dataclass(frozen=True, kw_only=True)
class ViewCommand:
    """Look at a sequence or a whole dataset in the browser: cameras, points, images with masks and depth."""

    path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]
    """The folder of a sequence or of a dataset, ours or MVImgNet, or a point cloud (.pcd, .ply)."""
    compare: Path | None = None
    """A sequence to show beside it, for example another build of the same capture; the eyes move together."""
    host: str = "127.0.0.1"
    """Where to listen. Anything but this machine (0.0.0.0 for all networks) asks browsers for a token."""
    port: int = 8090
    """0 takes any port that is free."""
    open: bool = False
    """Open the browser too."""


def run(arguments: list[str]) -> int:
    """Serve the viewer until Ctrl-C."""
    command = parse(ViewCommand, "view", arguments)
    set_up_logging(verbose=False)
    from walkaround.viewer.session import open_session

    with open_session(command.path, compare=command.compare, host=command.host, port=command.port) as session:
        show(session.address)
        say("Ctrl-C ends the viewer.")
        if command.open:
            import webbrowser

            webbrowser.open(session.address)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            say("")
    return EXIT_ACCEPTED
