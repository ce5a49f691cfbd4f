"""Datasets as WebDataset tars with an index: :func:`write_shards`, :class:`Shards`, :func:`unpack_shards`."""

from typing import TYPE_CHECKING

from walkaround.lazy import lazy_names

if TYPE_CHECKING:
    from walkaround.dataset.shards.options import ShardOptions
    from walkaround.dataset.shards.read import Shards
    from walkaround.dataset.shards.unpack import unpack_shards
    from walkaround.dataset.shards.write import write_shards
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "walkaround.dataset.shards.options": ("ShardOptions",),
            "walkaround.dataset.shards.read": ("Shards",),
            "walkaround.dataset.shards.unpack": ("unpack_shards",),
            "walkaround.dataset.shards.write": ("write_shards",),
        },
    )

__all__ = ["ShardOptions", "Shards", "unpack_shards", "write_shards"]
