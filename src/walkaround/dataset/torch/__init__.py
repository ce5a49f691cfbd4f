"""Datasets for PyTorch (docs/loading.md): views of an object as tensors, cropped, with their cameras.

Nothing here imports torch before it is used.
"""

from typing import TYPE_CHECKING

from walkaround.lazy import lazy_names

if TYPE_CHECKING:
    from walkaround.dataset.torch.batch import Skipped, collate
    from walkaround.dataset.torch.map_style import ViewDataset
    from walkaround.dataset.torch.options import ViewOptions
    from walkaround.dataset.torch.sampler import SceneSampler
    from walkaround.dataset.torch.stream import ViewStream
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "walkaround.dataset.torch.batch": ("Skipped", "collate"),
            "walkaround.dataset.torch.map_style": ("ViewDataset",),
            "walkaround.dataset.torch.options": ("ViewOptions",),
            "walkaround.dataset.torch.sampler": ("SceneSampler",),
            "walkaround.dataset.torch.stream": ("ViewStream",),
        },
    )

__all__ = ["SceneSampler", "Skipped", "ViewDataset", "ViewOptions", "ViewStream", "collate"]
