"""What a process that loads is told about itself."""

from __future__ import annotations

import functools
import os


@functools.cache
def prepare_process() -> None:
    """Get ready for workers: load what all of them need, and let OpenCV end its threads before each fork.

    A DataLoader's workers are forks on Linux. They would inherit OpenCV's pool without its threads, and wait
    for these forever once it is used or changed. Afterwards it takes as many as before.
    """
    import cv2

    from walkaround.io.png_grey import warm_up

    warm_up()
    before: list[int] = []

    def end_threads() -> None:
        before.append(cv2.getNumThreads())
        cv2.setNumThreads(1)

    os.register_at_fork(
        before=end_threads,
        after_in_parent=lambda: cv2.setNumThreads(before.pop()),
        after_in_child=before.clear,
    )


def one_thread_in_workers() -> None:
    """Let OpenCV use one thread in a worker of a DataLoader: there is a worker a core already."""
    _set_up(os.getpid())


@functools.lru_cache(maxsize=1)
def _set_up(process: int) -> None:
    import cv2
    import torch

    if torch.utils.data.get_worker_info() is not None and cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)


def worker_and_count() -> tuple[int, int]:
    """Return the number of this worker, and how many there are; 0 and 1 outside of workers."""
    import torch

    info = torch.utils.data.get_worker_info()
    return (0, 1) if info is None else (int(info.id), int(info.num_workers))


def rank_and_count(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return the rank and the number of ranks: as given, else those of ``torch.distributed``, else 0 and
    1."""
    if rank is not None and world_size is not None:
        return rank, world_size
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return int(torch.distributed.get_rank()), int(torch.distributed.get_world_size())
    return 0, 1
