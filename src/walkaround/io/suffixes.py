"""File names that tell what an input is, without any library: videos, photos, archives."""

from __future__ import annotations

from pathlib import PurePath

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".avif"})
VIDEO_SUFFIXES = frozenset(
    {
        ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts",
        ".webm", ".wmv",
    }
)  # fmt: skip
ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz"})


def is_video_name(name: str) -> bool:
    """Return whether a file of this name should be a video."""
    return PurePath(name).suffix.lower() in VIDEO_SUFFIXES


def is_photo_name(name: str) -> bool:
    """Return whether a file of this name should be a photo, readable here or not."""
    return PurePath(name).suffix.lower() in PHOTO_SUFFIXES | HEIC_SUFFIXES


def is_archive_name(name: str) -> bool:
    """Return whether a file of this name should be an archive, of photos for example."""
    return name.lower().endswith(tuple(ARCHIVE_SUFFIXES))
