"""The methods that turn a window of exposures into a frame of radiance, by name."""

from __future__ import annotations

from collections.abc import Callable

from walkaround.errors import UsageError
from walkaround.hdr.clip import FuseWindow
from walkaround.hdr.fusion import FusionOptions, make_fusion, naive_merge
from walkaround.hdr.response import Response


def load_network(response: Response, options: FusionOptions) -> FuseWindow:
    """Return the network with the weights that come with the package.

    Raises
    ------
    UsageError
        torch or safetensors is not installed.
    """
    try:
        from walkaround.hdr.network.fuse import make_network
    except ImportError as error:
        raise UsageError(
            f"The method network needs {error.name}. Install it: pip install 'walkaround[torch]', or take "
            "--method fusion."
        ) from error
    return make_network(response, options)


METHODS: dict[str, Callable[[Response, FusionOptions], FuseWindow]] = {
    "fusion": make_fusion,
    "naive": naive_merge,
    "network": load_network,
}
"""Each takes the camera's response and what is known of the camera's noise."""
