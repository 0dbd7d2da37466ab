"""What intake and uploads ask of the workflows: to take up work that stands in the ledger."""

from __future__ import annotations

from typing import Protocol


class WorkQueue(Protocol):
    """Takes up work that stands in the ledger; each of its methods may be called again for the same work."""

    def enqueue_study(self, key: str) -> None:
        """Analyse, report, store and deliver, as far as that is not done yet."""

    def enqueue_originals(self, key: str) -> None:
        """Deliver the originals of a refused study to the destinations that want originals."""
