"""The command line: subcommands, logging, exit codes.

``walkaround --help`` imports nothing heavy; a subcommand's options and stages load when it is chosen.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from walkaround import __version__
from walkaround.errors import ProcessDied, SequenceRejected, WalkaroundError

EXIT_ACCEPTED, EXIT_DIED, EXIT_USAGE, EXIT_REJECTED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

_COMMANDS = {
    "build": "turn a capture, or a collection of them, into sequences of a dataset",
    "status": "show how far a batch is, from any terminal",
    "query": "ask the catalogue of a dataset with SQL",
    "stats": "show classes, scores, reasons, time and size of a dataset",
    "report": "write a static site about a dataset, to look at or to publish",
    "duplicates": "find captures and objects that a dataset holds twice",
    "splits": "divide a dataset for training, validation and test",
    "audit": "look at every scene of a dataset for what is missing, broken or cannot be right",
    "repair": "make what an audit found right, in a tree beside the dataset",
    "verify": "check a dataset against its own records and checksums",
    "export": "write scenes in the format of another tool",
    "import": "take images that come with cameras into a dataset",
    "shard": "pack a dataset into WebDataset tars with an index",
    "unshard": "unpack shards: the same files again",
    "simulate": "render a walk-around of an object with known truth",
    "simulate-dataset": "render a dataset of many classes with exact truth",
    "demo": "simulate a capture, build it, and compare it with the truth",
    "evaluate": "compare a sequence with the truth",
    "view": "look at a sequence or a dataset in the browser, accept and reject",
    "render": "render new views of a sequence: a film around the object",
    "rerender": "score a sequence by rendering its pictures from each other",
    "splat": "fit Gaussian splats to a sequence and write them as PLY",
    "hdr": "turn a video of alternating exposures into frames of radiance",
    "hdr-eval": "measure methods of HDR video against the truth",
    "hdr-train": "train the network that merges alternating exposures",
    "masks": "mask one object in a folder of photos, without cameras",
    "restore": "denoise, inpaint, upscale, deblur or dejpeg pictures with an untrained network",
    "study": "run a study of what multi-view data is good for",
    "saliency-train": "train a mask model like the one that comes with walkaround",
    "models": "list the learned mask models that can be named",
}

_CONTINUES = "the same command continues after the last finished stage"
_AFTER_INTERRUPT = {
    "build": _CONTINUES,
    "demo": _CONTINUES,
    "import": _CONTINUES,
    "repair": "the same command goes on",
    "export": "the scenes before are written; --overwrite writes them again",
    "shard": "the same command continues after the last finished shard",
    "unshard": "the same command continues after the last finished scene",
    "hdr": "the same command continues after the last finished frame",
    "restore": "the same command continues after the last finished picture",
    "simulate-dataset": "the same command goes on with the objects that are missing",
    "study": "the same command goes on from the last checkpoint",
    "report": "the same command keeps the pages that are there",
    "hdr-train": "the same command continues after the last checkpoint",
    "saliency-train": "the same command continues after the last checkpoint",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0 accepted, 3 rejected, 2 error, 1 the build's process died, 130 interrupted. Of a batch: 0 all accepted,
    3 some rejected, 1 some failed.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(arguments)
    except SequenceRejected as error:
        _say(f"rejected ({error.reason}): {error}")
        return EXIT_REJECTED
    except ProcessDied as error:
        _say(f"error: {error}")
        return EXIT_DIED
    except WalkaroundError as error:
        _say(f"error: {error}")
        return EXIT_USAGE
    except BrokenPipeError:  # the reader of our output has gone, as in `walkaround --help | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_USAGE
    except KeyboardInterrupt:
        _say(f"interrupted; {_AFTER_INTERRUPT.get(arguments[0], 'nothing was written')}")
        return EXIT_INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_overview() + "\n")
        return EXIT_ACCEPTED if arguments else EXIT_USAGE
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"walkaround {__version__}\n")
        return EXIT_ACCEPTED
    name = arguments[0]
    if name not in _COMMANDS:
        near = difflib.get_close_matches(name, _COMMANDS, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(_COMMANDS)}."
        _say(f"error: there is no command {name!r}. {hint}")
        return EXIT_USAGE
    module = {"import": "import_"}.get(name, name.replace("-", "_"))  # a word of Python
    command = importlib.import_module(f"walkaround.commands.{module}")
    code: int = command.run(arguments[1:])
    return code


def _overview() -> str:
    commands = "\n".join(f"  {name:<16} {text}" for name, text in _COMMANDS.items())
    return (
        "usage: walkaround COMMAND ...\n\n"
        "Turn walk-around videos of objects into a multi-view dataset.\n\n"
        f"commands:\n{commands}\n\n"
        "  --version  print the version\n"
        "  --help     print this; `walkaround COMMAND --help` lists a command's options\n\n"
        "exit codes: 0 accepted, 3 rejected with reasons, 2 wrong usage or unreadable input,\n"
        "  1 the build's process was aborted, killed or out of time, 130 interrupted;\n"
        "  of a batch 0 all accepted, 3 some rejected, 1 some failed (their processes died);\n"
        "  of audit, repair and verify 0 nothing is left, 3 something is"
    )


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
