"""The object's cloud: masked depth of all views fused, cleaned, with normals and colours."""

from typing import TYPE_CHECKING

from walkaround.cloud.options import CloudOptions
from walkaround.lazy import lazy_names

if TYPE_CHECKING:
    from walkaround.cloud.fuse import CloudResult, fuse_cloud, write_cloud
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "walkaround.cloud.fuse": (
                "CloudResult",
                "fuse_cloud",
                "write_cloud",
            )
        },
    )

__all__ = ["CloudOptions", "CloudResult", "fuse_cloud", "write_cloud"]
