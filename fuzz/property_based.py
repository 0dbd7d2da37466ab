"""One target under hypothesis: sound inputs altered, and what fails made as small as it can be.

python -m fuzz.property_based TARGET FOLDER SECONDS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzz.target import Target
from fuzz.targets import load
from fuzz.watch import Watch

_EXAMPLES_A_ROUND = 25


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Inputs of a target: one that is sound, altered."""
    return st.builds(target.mutate, st.sampled_from(target.seeds()), st.randoms(use_true_random=False))


def search(
    target: Target, feed: Callable[[bytes], BaseException | None], *, start: int, examples: int
) -> None:
    """Feed so many inputs; the first fault is made smaller and raised.

    Equal `start`, equal inputs.
    """

    @seed(start)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(inputs(target))
    def holds(content: bytes) -> None:
        fault = feed(content)
        if fault is not None:
            raise fault

    holds()


def main() -> None:
    """Run until the time is over, the real way through reading processes."""
    target, folder, seconds = load(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    watch = Watch(target, target.whole, folder / "found", folder / "property_based.json")
    deadline = time.monotonic() + seconds
    start = time.time_ns()
    while time.monotonic() < deadline:
        try:
            search(target, watch.feed, start=start, examples=_EXAMPLES_A_ROUND)
        except Exception as error:  # noqa: BLE001  # recorded by the watch, which has the input too
            print(type(error).__name__, file=sys.stderr)
        start += 1
    watch.save()


if __name__ == "__main__":
    main()
