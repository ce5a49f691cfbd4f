"""``walkaround hdr-eval``."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from walkaround.commands.console import EXIT_ACCEPTED, parse, say, set_up_logging, show
from walkaround.errors import InputError, UsageError
from walkaround.hdr.evaluation import ClipScores, Viewing, format_tables, score_clip, summarise
from walkaround.hdr.trial import TrialOptions, make_clips, try_method

if TYPE_CHECKING:
    from walkaround.hdr.clip import FuseWindow

NAMES = ("naive", "fusion", "network")


@dataclass(frozen=True, kw_only=True)
class HdrEvalCommand:
    """Compare methods of HDR video with the truth, or frames that any program made."""

    input: Annotated[Path, tyro.conf.Positional]
    """A folder of radiance images (.exr, .hdr), from which clips with known truth are made. With --truth, a
    folder of frames that a method made."""
    truth: Path | None = None
    """A folder of the true frames, as many as `input` has, in the same order of names."""
    ev: tuple[float, ...] = ()
    """With --truth: EV of the references of one period in the order of the frames, such as 0 3."""
    methods: tuple[str, ...] = NAMES
    """Which methods to try: naive, fusion, network."""
    names: tuple[str, ...] = ()
    """Names of the radiance images to use, without suffix; all that training leaves out when not given."""
    trial: TrialOptions = field(default_factory=TrialOptions)
    """The clips."""
    viewing: Viewing = field(default_factory=Viewing)
    """How light is shown."""
    weights: Path | None = None
    """Weights of the network; those that come with the package when not given."""
    device: str = "auto"
    """Of the network: cpu, cuda, or auto."""
    json: bool = False
    """Print JSON: the means, and every frame and clip."""
    verbose: bool = False
    """Log more."""


def run(arguments: list[str]) -> int:
    """Score, then print the tables."""
    command = parse(HdrEvalCommand, "hdr-eval", arguments)
    set_up_logging(verbose=command.verbose)
    scores = _score_methods(command) if command.truth is None else [_score_frames(command)]
    summaries = summarise(scores)
    if command.json:
        show(json.dumps({"means": summaries, "clips": [dataclasses.asdict(s) for s in scores]}, indent=2))
    else:
        show(format_tables(summaries))
    return EXIT_ACCEPTED


def _score_methods(command: HdrEvalCommand) -> list[ClipScores]:
    from walkaround.hdr.synthesis.sources import find_sources

    unknown = sorted(set(command.methods) - set(NAMES))
    if unknown or not command.methods:
        raise UsageError(f"hdr-eval: --methods has {unknown}; it takes {', '.join(NAMES)}.")
    sources = [
        source
        for held in ((True, False) if command.names else (True,))
        for source in find_sources(command.input, held_out=held)
        if not command.names or source.name in command.names
    ]
    missing = sorted(set(command.names) - {source.name for source in sources})
    if missing:
        raise InputError(f"{command.input} has no radiance image named {missing[0]}. Check --names.")
    methods = {name: load_method(name, command.weights, command.device) for name in command.methods}
    scores = []
    for name, clip in make_clips(sources, command.trial):
        say(f"{name}: {', '.join(methods)}")
        scores += [try_method(name, clip, own, label, command.viewing)[0] for label, own in methods.items()]
    return scores


def load_method(name: str, weights: Path | None = None, device: str = "auto") -> FuseWindow:
    """Return a method for clips recorded with a curve of 2.2."""
    from walkaround.hdr.fusion import FusionOptions
    from walkaround.hdr.methods import METHODS
    from walkaround.hdr.response import known_response

    method, response = METHODS[name], known_response("gamma")
    if name == "network" and (weights is not None or device != "auto"):
        with suppress(ImportError):  # the method says what is missing
            from walkaround.hdr.network.fuse import RunOptions, make_network
            from walkaround.hdr.network.weights import SHIPPED

            return make_network(response, run=RunOptions(device=device, weights=weights or SHIPPED))
    return method(response, FusionOptions())


def _score_frames(command: HdrEvalCommand) -> ClipScores:
    """Score frames on disk."""
    result, truth = (_read_frames(folder) for folder in (command.input, command.truth))
    if not command.ev:
        raise UsageError("hdr-eval: --truth needs --ev, the exposures of one period, such as --ev 0 3.")
    period = [2.0**ev for ev in command.ev]
    exposures = [period[n % len(period)] for n in range(len(result))]
    return score_clip(
        result, truth, exposures=exposures, name=command.input.name, method="result", viewing=command.viewing
    )


def _read_frames(folder: Path | None) -> list[Any]:
    from walkaround.io.image import natural_order
    from walkaround.io.radiance import RADIANCE_SUFFIXES, read_radiance

    if folder is None or not folder.is_dir():
        raise InputError(f"There is no folder {folder} of frames. Check the path.")
    files = natural_order(path for path in folder.iterdir() if path.suffix.lower() in RADIANCE_SUFFIXES)
    if not files:
        raise InputError(f"{folder} holds no frames (.exr, .hdr).")
    return [read_radiance(path) for path in files]
