"""What a dataset holds and how that was made, in words that the catalogue bears out."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

_GIVEN = "scores['num_source_frames'] IS NULL"
"""True of an import: its cameras came with the images, and nothing was inspected."""
_COUNTED = {
    "num_stills": "num_frames > 0",
    "num_from_video": f"num_frames > 0 AND source_kind = 'video' AND NOT ({_GIVEN})",
    "num_from_photos": f"num_frames > 0 AND source_kind = 'photos' AND NOT ({_GIVEN})",
    "num_fused": "num_frames > 0 AND list_contains(stages_done, 'hdr')",
    "num_estimated": f"num_registered > 0 AND NOT ({_GIVEN})",
    "num_given": f"num_registered > 0 AND {_GIVEN}",
    "num_depth": "list_contains(stages_done, 'depth') AND coalesce(scores['depth_share'], 1) > 0",
    "num_filled": "coalesce(scores['depth_filled_share'], 0) > 0",
    "num_masks": "list_contains(stages_done, 'masks') AND coalesce(scores['object_views_share'], 1) > 0",
    "num_given_masks": (
        f"list_contains(stages_done, 'masks') AND {_GIVEN} AND scores['object_views_share'] IS NULL"
    ),
    "num_clouds": "list_contains(stages_done, 'cloud') AND coalesce(scores['num_points'], 1) > 0",
}
"""Field of :class:`Making` -> which rows of the catalogue it counts."""


@dataclass(frozen=True, kw_only=True)
class Making:
    """How many sequences have what, and where it comes from."""

    num_stills: int
    num_from_video: int
    num_from_photos: int
    num_fused: int
    """Whose stills were fused from alternating exposures."""
    num_estimated: int
    """With cameras by structure from motion."""
    num_given: int
    """With cameras that came with the images."""
    num_depth: int
    num_filled: int
    """Whose depth has small holes filled."""
    num_masks: int
    num_given_masks: int
    """Of ``num_masks``, those that came with the images."""
    num_clouds: int
    stills: tuple[int, int, int]
    """Fewest, median and most stills of a sequence that has any; zeros without one."""

    @property
    def num_cameras(self) -> int:
        return self.num_estimated + self.num_given

    @property
    def parts(self) -> dict[str, int]:
        """What there is -> of how many sequences; what no sequence has is left out."""
        counts = {
            "cameras": self.num_cameras,
            "masks": self.num_masks,
            "depth": self.num_depth,
            "point clouds": self.num_clouds,
        }
        return {name: count for name, count in counts.items() if count}


def read_making(database: duckdb.DuckDBPyConnection) -> Making:
    """Count in the view ``catalog`` of a catalogue."""
    filters = ", ".join(f"count(*) FILTER ({where})" for where in _COUNTED.values())
    (row,) = database.execute(
        f"SELECT {filters}, coalesce(min(nullif(num_frames, 0)), 0),"
        " coalesce(round(median(nullif(num_frames, 0))), 0), coalesce(max(num_frames), 0) FROM catalog"
    ).fetchall()
    values = [int(value) for value in row]
    counts = dict(zip(_COUNTED, values[: len(_COUNTED)], strict=True))
    low, median, high = values[len(_COUNTED) :]
    return Making(**counts, stills=(low, median, high))


def steps(making: Making) -> tuple[tuple[str, str], ...]:
    """Return what was made and how, as far as it was."""
    found = (
        ("Frames", _frames(making)),
        ("HDR", _of(making.num_fused, "stills fused from alternating exposures, shown through one curve")),
        ("Cameras", _cameras(making)),
        ("Depth", _depth(making)),
        ("Masks", _masks(making)),
        (
            "Cloud",
            _of(
                making.num_clouds,
                "masked depth of all views fused; strays removed, normals and colours added",
            ),
        ),
        (
            "Verdict",
            "scores of all stages against one table of limits; what misses one is rejected with reasons",
        ),
        ("Options", "each sequence.json has those that its sequence was made with"),
    )
    return tuple((name, text) for name, text in found if text) if making.num_stills else ()


def limits(making: Making) -> tuple[str, ...]:
    """Return what holds of such data in general, as far as there are such data."""
    own_world = " or was imported in a world of its own" if making.num_given else ""
    computed = {
        "cameras": making.num_estimated,
        "depth": making.num_depth,
        "masks": making.num_masks - making.num_given_masks,
    }
    named = listed([name for name, count in computed.items() if count])
    scores = "; the scores say how well they agree"
    found = (
        (making.num_cameras, "The scale is arbitrary unless a sequence says metric" + own_world
         + ": the cameras' orbit has radius 1."),
        (named, f"Computed, not made by people: {named}{scores}."),
        (making.num_depth, "Shiny, transparent and textureless surfaces have little depth"
         + ("." if making.num_filled else "; holes are left open.")),
        (making.num_cameras, "Undersides and sides that nobody filmed are missing; the arc covered tells how"
         " much was seen."),
        (making.num_stills, "Class labels are those given with the captures."),
    )  # fmt: skip
    return tuple(text for count, text in found if count)


def parts_text(making: Making) -> str:
    """Say which parts there are, and of how many sequences."""
    said = [f"{name} of {count:,}" for name, count in {"stills": making.num_stills, **making.parts}.items()]
    return ", ".join(said) + (" sequences" if making.num_stills != 1 else " sequence")


def listed(words: list[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def counted(count: int, one: str, many: str = "") -> str:
    """Return "1 sequence", "2 sequences"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _of(count: int, text: str) -> str:
    return f"of {counted(count, 'sequence')}: {text}" if count else ""


def _frames(making: Making) -> str:
    low, median, high = making.stills
    number = f"{low:,}" if low == high else f"{low:,} to {high:,} (median {median:,})"
    given = making.num_stills - making.num_from_video - making.num_from_photos
    said = (
        _of(making.num_from_video, "sharp stills of a video, evenly spaced, or all of a short one"),
        _of(making.num_from_photos, "all photos"),
        _of(given, "all images that came with the cameras"),
    )
    return f"{number} a sequence, without metadata of the camera; {'; '.join(filter(None, said))}"


def _cameras(making: Making) -> str:
    estimated = "structure from motion with COLMAP on whole images, checked for folded and misplaced cameras"
    given = "imported with the images, not estimated"
    return "; ".join(filter(None, (_of(making.num_estimated, estimated), _of(making.num_given, given))))


def _depth(making: Making) -> str:
    filled = f"small holes are filled in {making.num_filled:,} of them" if making.num_filled else ""
    text = "multi-view stereo; a pixel is kept where other views confirm it (two unless the options differ)"
    return "; ".join(filter(None, (_of(making.num_depth, text), filled)))


def _masks(making: Making) -> str:
    text = (
        "the object found in 3-D by depth and colour, rendered into every view, outlines moved to image edges"
        " (unless the options differ)"
    )
    made = _of(making.num_masks - making.num_given_masks, text)
    return "; ".join(filter(None, (made, _of(making.num_given_masks, "given with the images"))))
