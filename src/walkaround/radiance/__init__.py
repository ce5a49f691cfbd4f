"""Novel views of a sequence from a network that was trained on other objects (extra ``torch``).

An IBRNet-class radiance field (Wang et al. 2021, arXiv:2102.13090): nothing is fitted to the object; the
colours of a few nearby pictures are gathered along each ray of the new view, and the network decides where
on the ray the surface is and which picture to believe. ``walkaround render`` and ``walkaround rerender`` are
the commands; docs/render.md says what comes out.
"""

from typing import TYPE_CHECKING

from walkaround.lazy import lazy_names
from walkaround.radiance.options import NetworkOptions, SamplingOptions
from walkaround.radiance.views import TargetView, ViewSet, load_views

if TYPE_CHECKING:
    from walkaround.radiance.network import RadianceNetwork
    from walkaround.radiance.render import Rendered, render_view
    from walkaround.radiance.weights import read_weights
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "walkaround.radiance.network": ("RadianceNetwork",),
            "walkaround.radiance.render": ("Rendered", "render_view"),
            "walkaround.radiance.weights": ("read_weights",),
        },
    )

__all__ = [
    "NetworkOptions",
    "RadianceNetwork",
    "Rendered",
    "SamplingOptions",
    "TargetView",
    "ViewSet",
    "load_views",
    "read_weights",
    "render_view",
]
