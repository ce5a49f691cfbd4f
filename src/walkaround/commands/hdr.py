"""``walkaround hdr``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, progress, say, set_up_logging, show
from walkaround.hdr.options import HdrOptions
from walkaround.threads import keep_freed_memory, library_threads, usable_cores


@dataclass(frozen=True, kw_only=True)
class HdrCommand:
    """Turn a video of alternating exposures into frames of radiance (EXR, HDR) and a tone-mapped video."""

    input: Annotated[Path, tyro.conf.Positional]
    """A video, or a folder of images in the order of their names (JPEG, PNG, TIFF; linear EXR, HDR)."""
    out: Path
    """Folder for radiance/, confidence/, tonemapped.mp4 and exposures.json; made when missing."""
    options: Annotated[HdrOptions, tyro.conf.arg(name="")] = field(default_factory=HdrOptions)
    format: str = "exr"
    """Of the radiance: exr (half float), hdr (Radiance) or both."""
    frame_rate: float = 0.0
    """Of tonemapped.mp4; 0 takes that of the input, 10 for images."""
    threads: int = 0
    """Threads to use; 0 means all cores. The result does not depend on it."""
    overwrite: bool = False
    """Replace the result of another clip or of other options."""
    json: bool = False
    """Print the record on stdout as JSON."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Fuse a clip and say what was found."""
    command = parse(HdrCommand, "hdr", arguments)
    set_up_logging(verbose=command.verbose)
    from walkaround.hdr.reconstruct import VIDEO_NAME, reconstruct_clip

    threads = command.threads if command.threads > 0 else usable_cores()
    keep_freed_memory()
    with progress() as report, library_threads(threads):
        result = reconstruct_clip(
            command.input,
            command.out,
            options=command.options,
            radiance_format=command.format,
            frame_rate=command.frame_rate,
            overwrite=command.overwrite,
            progress=(
                lambda share: report("exposures", share),
                lambda share: report("fusion", share),
                lambda share: report("video", share),
            ),
        )
    record = result.record
    if command.json:
        show(json.dumps(record, indent=2))
    origin = {"given": "as given", "exif": "from the files", "frames": "measured on the frames"}[
        record["origin"]
    ]
    evs = ", ".join(f"{ev:g}" for ev in record["ev"])
    say(f"{len(record['frames'])} frames, exposures {evs} EV ({origin}); {result.written} written")
    for note in record["notes"]:
        say(f"note: {note}")
    say(f"written: {command.out}; look at {command.out / VIDEO_NAME}")
    return EXIT_ACCEPTED
