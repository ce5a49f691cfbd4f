"""What a simulated capture looks like."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError

OBJECT_NAMES = ("vase", "blob", "mug", "figurine", "plant", "wire")
TABLE_NAMES = ("wood", "stone", "plain")


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """A rendered hand-held walk-around of one object on a table."""

    object: str = "figurine"
    """Shape: vase, blob, mug, figurine, plant or wire; the seed varies its proportions and colours."""
    seed: int = 0
    """Everything random (shape, texture, room, hand, noise) follows from it."""
    arc_deg: float = 360.0
    """How far the camera walks around the object."""
    num_frames: int = 60
    """Frames of the video, all rendered and all with truth."""
    duration_s: float = 10.0
    """Length of the video; the frame rate is num_frames / duration_s."""
    size: tuple[int, int] = (960, 540)
    """Width and height in pixels, both even."""
    focal_35mm: float = 28.0
    """Focal length as the 35-mm equivalent (of the image's long side = 36 mm)."""
    elevation_deg: float = 28.0
    """Mean angle of the camera above the table, seen from the object."""
    fill: float = 1.2
    """The object's bounding sphere over the image's short side: how near the camera goes. It stays far
    enough to see the whole object."""
    nearness: float = 1.0
    """Times the distance that follows from ``fill``; under 1 the frame's border cuts the object."""
    jitter: float = 1.0
    """Strength of the hand's sway and tremor; 0 is a perfect rail."""
    blur_s: float = 0.0
    """Exposure time in seconds: motion blur of camera and object; 0 is sharp."""
    noise: float = 0.006
    """Standard deviation of the sensor's noise at white, as a share of white."""
    symmetry: int = 1
    """The object looks the same after each turn by 360 degrees / symmetry, in shape and in colour; only the
    light tells its sides apart."""
    texture: float = 1.0
    """Contrast of the object's texture: 1 strong, 0 one plain colour."""
    gloss: float = 0.08
    """Strength of the object's highlights; 0 is matt."""
    table: str = "wood"
    """Table top: wood, stone (both with scattered prints, never repeating) or plain."""
    table_radius: float = 2.6
    """Radius of the round table in radii of the object's bounding sphere."""
    clutter: int = 0
    """Other things that stand around the object on the table; they are not part of the truth."""
    plain_background: bool = False
    """A room without any texture."""
    moving_object: bool = False
    """The camera stands and the object turns by arc_deg instead."""
    exposure: float = 1.0
    """Brightness; 0.1 is a dark room (the noise stays)."""
    contrast_ev: float = 0.0
    """How much stronger the key light is against other lamps and sky: 6 gives deep shadow and glare."""
    exposures_ev: tuple[float, ...] = ()
    """EV of the frames in turn, such as 0 3 for a video of alternating exposures; the sensor then clips hard.
    None: one exposure, with a soft shoulder."""
    samples: int = 4
    """Rays a pixel at edges (with motion blur everywhere, spread over the exposure; at least 8 then)."""
    crf: int = 16
    """Constant rate factor of the H.264 video; lower is better."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        width, height = self.size
        tests = (
            (self.object in OBJECT_NAMES, "object", f"one of {', '.join(OBJECT_NAMES)}"),
            (self.table in TABLE_NAMES, "table", f"one of {', '.join(TABLE_NAMES)}"),
            (self.num_frames >= 1, "num_frames", "at least 1"),
            (0 < self.duration_s < 1e5, "duration_s", "positive"),
            (min(width, height) >= 32 and max(width, height) <= 8192, "size", "32 to 8192 pixels a side"),
            (width % 2 == 0 and height % 2 == 0, "size", "even numbers (H.264 needs them)"),
            (8 <= self.focal_35mm <= 400, "focal_35mm", "8 to 400"),
            (2 <= self.elevation_deg <= 85, "elevation_deg", "2 to 85"),
            (0.05 <= self.fill <= 2, "fill", "0.05 to 2"),
            (-3600 <= self.arc_deg <= 3600, "arc_deg", "-3600 to 3600"),
            (0.2 <= self.nearness <= 5, "nearness", "0.2 to 5"),
            (0 <= self.jitter <= 10, "jitter", "0 to 10"),
            (0 <= self.blur_s <= 1, "blur_s", "0 to 1"),
            (0 <= self.noise <= 1, "noise", "0 to 1"),
            (1 <= self.symmetry <= 12, "symmetry", "1 to 12"),
            (0 <= self.texture <= 1, "texture", "0 to 1"),
            (0 <= self.gloss <= 1, "gloss", "0 to 1"),
            (1.0 <= self.table_radius <= 20, "table_radius", "1 to 20"),
            (0 <= self.clutter <= 12, "clutter", "0 to 12"),
            (not (self.clutter and self.moving_object), "clutter", "0 when the object moves"),
            (0 < self.exposure <= 100, "exposure", "above 0, at most 100"),
            (0 <= self.contrast_ev <= 20, "contrast_ev", "0 to 20"),
            (len(self.exposures_ev) <= 8, "exposures_ev", "at most 8 numbers"),
            (all(abs(ev) <= 20 for ev in self.exposures_ev), "exposures_ev", "-20 to 20 each"),
            (1 <= self.samples <= 256, "samples", "1 to 256"),
            (0 <= self.crf <= 51, "crf", "0 to 51"),
            (self.seed >= 0, "seed", "0 or more"),
        )
        for passed, name, wanted in tests:
            if not passed:
                raise UsageError(f"simulate: {name} is {getattr(self, name)!r}; it must be {wanted}.")
