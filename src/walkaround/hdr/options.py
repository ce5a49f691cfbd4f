"""What can be chosen about HDR video."""

from __future__ import annotations

from dataclasses import dataclass

from walkaround.errors import UsageError

METHOD_NAMES = ("fusion", "network", "naive")
RESPONSE_NAMES = ("auto", "srgb", "gamma", "linear", "hlg", "pq", "debevec", "robertson")
TONEMAP_NAMES = ("filmic", "reinhard", "drago")


@dataclass(frozen=True, kw_only=True)
class HdrOptions:
    """How frames of alternating exposures become frames of radiance, and those pictures."""

    exposures: str = "auto"
    """EV of the frames of one period, in their order: 0,3 or 0,2,4; auto reads EXIF, else measures them."""
    response: str = "auto"
    """The camera's curve: srgb, gamma (2.2), linear, hlg, pq, or debevec or robertson to estimate it. auto:
    linear for EXR and HDR files, what a video states, else srgb."""
    method: str = "fusion"
    """fusion aligns and checks; network improves on that with learned weights (extra torch); naive only
    averages (to compare with)."""
    tonemap: str = "filmic"
    """Curve from radiance to pictures, one for the whole clip: filmic, reinhard or drago."""
    brightness_ev: float = 0.0
    """Of the pictures; 1 shows them twice as bright before the curve."""

    def check(self) -> None:
        """Raise :class:`UsageError` when a value makes no sense."""
        tests = (
            (self.response in RESPONSE_NAMES, "response", f"one of {', '.join(RESPONSE_NAMES)}"),
            (self.method in METHOD_NAMES, "method", f"one of {', '.join(METHOD_NAMES)}"),
            (self.tonemap in TONEMAP_NAMES, "tonemap", f"one of {', '.join(TONEMAP_NAMES)}"),
            (-20 <= self.brightness_ev <= 20, "brightness-ev", "-20 to 20"),
        )
        for passed, name, wanted in tests:
            if not passed:
                value = getattr(self, name.replace("-", "_"))
                raise UsageError(f"--{name} is {value!r}; it must be {wanted}.")
        self.given_ev()

    def given_ev(self) -> tuple[float, ...] | None:
        """Return ``exposures`` as numbers, one a frame of the period; None for auto.

        Raises
        ------
        UsageError
            They are not two or three different numbers.
        """
        if self.exposures == "auto":
            return None
        try:
            found = tuple(float(part) for part in self.exposures.split(","))
        except ValueError:
            found = ()
        if len(found) not in (2, 3) or len(set(found)) != len(found) or not all(abs(ev) < 40 for ev in found):
            raise UsageError(
                f"--exposures is {self.exposures!r}; it must be auto, or two or three different EV in the "
                "order of the frames, for example 0,3 or 0,2,4."
            )
        return found
