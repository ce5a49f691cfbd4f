"""The object's cloud: masked depth of all views fused, cleaned, with normals and colours."""

from walkaround.cloud.fuse import CloudResult, fuse_cloud, write_cloud
from walkaround.cloud.options import CloudOptions

__all__ = ["CloudOptions", "CloudResult", "fuse_cloud", "write_cloud"]
