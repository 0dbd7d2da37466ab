"""What is tried again after a fault: how long the next attempt waits, and how its durable run is known."""

from __future__ import annotations

RUN_LOST = "the run ended without a result"
"""What is recorded of work that the ledger knows as unfinished, while its run has ended."""


def run_id(work: str, turn: int) -> str:
    """Id of the durable run: that of the work itself, and a number from the second run on."""
    return work if turn == 0 else f"{work}.{turn}"


def pause_s(failures: int, first_s: float, longest_s: float) -> float:
    """Seconds until the next attempt after so many failures: doubling from `first_s` up to `longest_s`."""
    return min(first_s * 2.0 ** min(max(failures - 1, 0), 32), longest_s)
