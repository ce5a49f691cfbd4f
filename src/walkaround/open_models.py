"""Open the models that a build names before its first stage: what is missing is better known at once."""

from __future__ import annotations

from walkaround.build_options import BuildOptions
from walkaround.errors import FormatError, InputError, UsageError


def try_models(options: BuildOptions) -> None:
    """Open the mask model and the learned depth's weights, where the options name them.

    Raises
    ------
    UsageError
        A library is missing, or a file is none of a model. The capture is not to blame, so a batch stops.
    """
    try:
        if options.masks.model is not None:
            from walkaround.masks.onnx import load_model

            load_model(options.masks.model)
        if options.depth.backend == "learned":
            from walkaround.depth.learned import open_network

            open_network(options.depth.weights)
    except (InputError, FormatError) as error:
        raise UsageError(str(error)) from error
