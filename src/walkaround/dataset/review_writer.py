"""Where decisions are written: to ``reviews.jsonl`` at once, into the catalogue right after, by a thread.

A decision is safe when :meth:`ReviewWriter.add` returns. Writing the catalogue of a large dataset takes
seconds, in which more decisions may come; they are written together. Should the process die before, the next
writer of the catalogue (a build, another viewer) takes the decisions in.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from walkaround.dataset.catalog import apply_reviews
from walkaround.dataset.reviews import Review, add_review, reviews_path
from walkaround.dataset.rows import CATALOG_NAME
from walkaround.errors import WalkaroundError

logger = logging.getLogger(__name__)


class ReviewWriter:
    """Writes decisions about the sequences of a dataset; :meth:`close` it at the end.

    It starts by bringing the catalogue in line with decisions that an earlier process did not get into it.
    Decisions about a download go beside it; there is no catalogue then.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.path = reviews_path(root)
        self._has_catalogue = (root / CATALOG_NAME).is_file()
        self._changed = threading.Condition()
        self._is_behind = False
        self._closing = False
        self._thread: threading.Thread | None = None
        self._apply()

    def add(self, review: Review) -> Review:
        """Write a decision; return it with its time. The catalogue follows.

        Raises
        ------
        UsageError
            The decision is wrong.
        OutputError
            It cannot be written.
        """
        written = add_review(self.path, review)
        with self._changed:
            self._is_behind = True
            if self._thread is None and self._has_catalogue:
                self._thread = threading.Thread(target=self._follow, name="reviews", daemon=True)
                self._thread.start()
            self._changed.notify()
        return written

    def close(self) -> None:
        """Write what the catalogue still lacks, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_behind or self._closing)
                if not self._is_behind:
                    return
                self._is_behind = False
            self._apply()

    def _apply(self) -> None:
        """Bring the catalogue in line; a folder that cannot be written keeps its decisions in the log."""
        if not self._has_catalogue:
            return
        try:
            apply_reviews(self._root)
        except WalkaroundError as error:
            logger.warning("the catalogue does not have all decisions yet: %s", error)
