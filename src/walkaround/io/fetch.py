"""An input that lies elsewhere: a URL is downloaded, an archive of photos unpacked; both are removed again.

Files keep neither their names nor anything of the URL. Downloads go by fsspec, http by the standard library.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from walkaround.errors import InputError, UsageError, WalkaroundError
from walkaround.io.archive import ArchiveLimits, archive_kind, extract_photos
from walkaround.io.atomic import output_error
from walkaround.io.image import PHOTO_SUFFIXES, natural_key
from walkaround.io.locks import locked

logger = logging.getLogger(__name__)

PROTOCOLS = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "ftp", "sftp", "file", "memory")
"""What a URL may begin with. Others of fsspec's run code, read git repositories or chain URLs."""
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "sftp": "paramiko"}
_BLOCK = 1 << 20
_PAUSE_S = 2.0
"""Before the second try; doubled before each further one."""


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """How much may be downloaded, and how patiently."""

    max_size_mb: float = 10_000.0
    """Of a download; of all photos together when the URL is a folder."""
    max_files: int = 20_000
    """In a folder."""
    tries: int = 4
    timeout_s: float = 60.0
    """Without a byte."""
    archive: ArchiveLimits = field(default_factory=ArchiveLimits)


@contextmanager
def fetch(source: str, scratch: Path, *, limits: FetchLimits) -> Iterator[Path]:
    """Yield a local video or folder of photos for any source.

    A local video or folder is yielded as it is, and nothing is written. What is fetched or unpacked lies in a
    folder of its own under ``scratch`` and is removed at the end; after a kill by the next fetch of the same
    source, or by whoever clears ``scratch`` (the lock beside the folder holds the process id).

    Parameters
    ----------
    source
        A local path, or a URL of :data:`PROTOCOLS`: a video, an archive of photos, or a folder of photos when
        it ends with ``/``.
    scratch
        Where to work; made when needed.

    Raises
    ------
    UsageError
        The package that the protocol needs is not installed.
    InputError
        The protocol is unknown, it cannot be downloaded, is over a limit, or is an archive that is refused.
    OutputError
        ``scratch`` cannot be written.
    """
    local = _local_path(source)
    if local is not None and (local.is_dir() or archive_kind(local) is None):
        yield local
        return
    name = "fetch-" + hashlib.sha256(source.encode(errors="surrogateescape")).hexdigest()[:12]
    with ExitStack() as stack:
        stack.enter_context(locked(scratch / f"{name}.lock", wait=True, message="in use"))
        folder = _fresh_folder(scratch / name)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if local is None:
            local = _download(source, folder, limits)
        if not local.is_dir() and archive_kind(local) is not None:
            local = _unpack(local, folder, limits)
        yield local


def shown(source: str) -> str:
    """Return a source for messages: a URL without user, password and query, which may hold a key."""
    if "://" not in source:
        return source
    parts = urllib.parse.urlsplit(source)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _local_path(source: str) -> Path | None:
    """Return the path of a local source; None for a URL that must be fetched."""
    if "://" not in source:
        return Path(source)
    scheme = source.partition("://")[0].lower()
    if scheme not in PROTOCOLS or "::" in source:
        raise InputError(
            f"{shown(source)} cannot be fetched: use a local path or a URL that begins with one of "
            f"{', '.join(PROTOCOLS)}."
        )
    if scheme == "file":
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(source).path))
    return None


def _fresh_folder(folder: Path) -> Path:
    try:
        if folder.exists():  # of a run that was killed
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def _unpack(archive: Path, folder: Path, limits: FetchLimits) -> Path:
    photos = folder / "photos"
    try:
        photos.mkdir()
    except OSError as error:
        raise output_error(photos, error) from error
    extract_photos(archive, photos, limits=limits.archive)
    return photos


def _download(url: str, folder: Path, limits: FetchLimits) -> Path:
    """Download a file, or the photos of a folder."""
    budget = _Budget(url, limits.max_size_mb)
    remote = (
        _Http(limits)
        if url.lower().startswith("http")
        else _retried(lambda: _Fsspec(url, limits), url, limits)
    )
    if not url.endswith("/"):
        target = folder / f"source{_suffix(url)}"
        _retried(lambda: _copy(remote, url, target, budget), url, limits)
        return target
    names = _retried(lambda: remote.photos(url), url, limits)
    if not names:
        known = ", ".join(sorted(PHOTO_SUFFIXES))
        raise InputError(
            f"{shown(url)} holds no photos ({known}). A URL that ends with / is a folder of photos."
        )
    target = folder / "photos"
    target.mkdir()
    for number, name in enumerate(sorted(names, key=lambda name: (natural_key(_base(name)), name)), start=1):
        path = target / f"{number:05d}{_suffix(name)}"
        _retried(lambda name=name, path=path: _copy(remote, name, path, budget), url, limits)
    return target


class _Budget:
    """The bytes that a source may still send; what a failed try sent is given back."""

    def __init__(self, url: str, size_mb: float) -> None:
        self._url = url
        self._size_mb = size_mb
        self.left = size_mb * 1e6

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise InputError(
                f"{shown(self._url)} is larger than {self._size_mb:g} MB. Raise --capture.max-size-mb if it "
                "should be so large."
            )


def _copy(remote: _Http | _Fsspec, name: str, target: Path, budget: _Budget) -> None:
    """Download one file beside its name and rename it when it is whole."""
    part = target.with_name(f".{target.name}.part")
    before = budget.left
    try:
        with remote.open(name) as (content, size):
            if size is not None and size > budget.left:
                budget.take(size)
            got = _write(content, part, budget)
        if size is not None and got != size:
            raise ConnectionError(f"cut off after {got} of {size} bytes")
    except BaseException:
        budget.left = before
        raise
    part.replace(target)


def _write(content: IO[bytes], part: Path, budget: _Budget) -> int:
    size = 0
    try:
        file = part.open("wb")
    except OSError as error:
        raise output_error(part, error) from error
    with file:
        while block := content.read(_BLOCK):
            budget.take(len(block))
            size += len(block)
            try:
                file.write(block)
            except OSError as error:
                raise output_error(part, error) from error
    return size


class _Http:
    """http and https; redirects stay on them (urllib's usual opener would follow one to ftp)."""

    def __init__(self, limits: FetchLimits) -> None:
        self._timeout_s = limits.timeout_s
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPRedirectHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor,
        ):
            self._opener.add_handler(handler())

    @contextmanager
    def open(self, url: str) -> Iterator[tuple[IO[bytes], int | None]]:
        """Yield the content and its size, where the server says it."""
        if "@" in urllib.parse.urlsplit(url).netloc:
            raise InputError(f"{shown(url)} came with a user and password. Use an address that is signed.")
        request = urllib.request.Request(
            url, headers={"User-Agent": "walkaround", "Accept-Encoding": "identity"}
        )
        with self._opener.open(request, timeout=self._timeout_s) as response:
            length = response.headers.get("Content-Length", "")
            yield response, int(length) if length.isdecimal() else None

    def photos(self, url: str) -> list[str]:
        raise InputError(
            f"{shown(url)} is a folder, which http cannot list. Pass a video or an archive of photos."
        )


class _Fsspec:
    """Everything else."""

    def __init__(self, url: str, limits: FetchLimits) -> None:
        scheme = url.partition("://")[0].lower()
        try:
            import fsspec

            self._fs: Any = fsspec.url_to_fs(url)[0]
        except ImportError as error:
            package = _PACKAGES.get(scheme, "fsspec")
            raise UsageError(f"{scheme}:// needs another package: pip install {package}.") from error
        self._max_files = limits.max_files

    @contextmanager
    def open(self, url: str) -> Iterator[tuple[IO[bytes], int | None]]:
        """Yield the content and its size, where the store says it."""
        size = self._fs.info(url).get("size")
        with self._fs.open(url, "rb") as content:
            yield content, size

    def photos(self, url: str) -> list[str]:
        """List the photos of a folder."""
        found = [str(entry["name"]) for entry in self._fs.ls(url, detail=True) if entry["type"] == "file"]
        if len(found) > self._max_files:
            raise InputError(f"{shown(url)} holds {len(found)} files; at most {self._max_files} are fetched.")
        return [name for name in found if _suffix(name) in PHOTO_SUFFIXES and not _base(name).startswith(".")]


def _retried(attempt: Any, url: str, limits: FetchLimits) -> Any:
    """Call until it succeeds; give up at once when another try cannot help."""
    for number in range(1, limits.tries + 1):
        try:
            return attempt()
        except WalkaroundError:
            raise
        except Exception as error:  # every store raises classes of its own
            reason = _reason(error)
            if number == limits.tries or not _may_pass(error):
                tried = f" after {number} tries" if number > 1 else ""
                raise InputError(
                    f"{shown(url)} cannot be fetched{tried} ({reason}). Check the address, the network and "
                    "your rights."
                ) from None  # the cause may quote the URL with its key
            logger.warning("%s: %s; trying again", shown(url), reason)
            time.sleep(_PAUSE_S * 2 ** (number - 1))
    raise AssertionError("unreachable")


def _may_pass(error: Exception) -> bool:
    """Return whether the same request may succeed later."""
    if isinstance(error, urllib.error.HTTPError):
        with suppress(OSError):
            error.close()
        return error.code in (408, 425, 429) or error.code >= 500
    lasting = (
        FileNotFoundError,
        PermissionError,
        IsADirectoryError,
        NotADirectoryError,
        ValueError,
        TypeError,
    )
    return not isinstance(error, lasting)


def _reason(error: Exception) -> str:
    """Say what went wrong without any URL, whose query may hold a key."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    text = f"{type(error).__name__}: {getattr(error, 'reason', None) or error}"
    return re.sub(r"\S+://\S+", "...", text)[:200]


def _base(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


def _suffix(name: str) -> str:
    """Return the ending of a URL's path when it is a plain one."""
    path = urllib.parse.urlsplit(name).path if "://" in name else name
    suffix = os.path.splitext(_base(path))[1].lower()  # noqa: PTH122 (it is no path here)
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ""
