"""Windows of a clip, one after another, with no more frames in memory than a window needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from walkaround.errors import InputError
from walkaround.hdr.clip import Exposed
from walkaround.hdr.exposures import Exposures
from walkaround.hdr.reading import ClipSource
from walkaround.hdr.windows import window_indices


def slide(
    source: ClipSource, exposures: Exposures, references: Iterable[int], num_frames: int
) -> Iterator[tuple[int, tuple[Exposed, ...]]]:
    """Yield each reference's number and its window, in order.

    Parameters
    ----------
    references
        Numbers of frames, ascending; what no window needs is not converted.
    num_frames
        Frames that can be read: a video may end before its header says.

    Raises
    ------
    InputError
        There are fewer.
    """
    ahead = [(index, window_indices(index, num_frames, exposures.period)) for index in references]
    needed = {place for _, places in ahead for place in places}
    reading = source.frames(needed)
    held: dict[int, Exposed] = {}
    for number, (index, places) in enumerate(ahead):
        while not held.keys() >= set(places):
            found = next(reading, None)
            if found is None:
                raise InputError(
                    f"{source.path} ends before frame {max(places) + 1}. Was it changed meanwhile?"
                )
            place, image = found
            held[place] = Exposed(image=image, exposure=exposures.exposure(place))
        yield index, tuple(held[place] for place in places)
        if number + 1 < len(ahead):
            first = min(ahead[number + 1][1])
            held = {place: frame for place, frame in held.items() if place >= first}
