"""Several processes on one ledger: each says that it lives, and takes over the work of those that do not.

A dead process's workflows stay marked as under way, and no queue gives them out again. A process that is
started anew under the same name goes on with them; where none is, another one does, from the unfinished step.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from dicom_node.durable import Durable
from dicom_node.ledger import Ledger
from dicom_node.ledger_database import database_words

logger = logging.getLogger(__name__)

BEAT_S = 5.0
SILENCE_S = 60.0
"""Long enough for a process that computes with every core; work taken over too early is done twice."""


class Heartbeat:
    """A thread that beats for `executor_id`, and looks after work that nobody does.

    `resume` is called now and then to enter what stands unfinished in the ledger only.
    """

    def __init__(
        self, ledger: Ledger, durable: Durable, executor_id: str, resume: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._durable = durable
        self._executor_id = executor_id
        self._resume = resume
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why nothing can be recorded now, None while it can."""
        return self._problem

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the others take over what is left if this process does not come back."""
        self._stop.set()
        if self._thread.is_alive():  # it was never started where another part did not come up
            self._thread.join(timeout=30)

    def _run(self) -> None:
        resumed_at = time.monotonic()
        while not self._stop.is_set():
            try:
                self._ledger.workers.beat(self._executor_id)
                if time.monotonic() - resumed_at >= SILENCE_S:
                    resumed_at = time.monotonic()
                    self._resume()
                for executor_id in self._ledger.workers.silent(SILENCE_S):
                    count = self._durable.take_over(executor_id)
                    self._ledger.workers.forget(executor_id)
                    logger.warning("a worker is gone", extra={"worker": executor_id, "taken_over": count})
                self._problem = None
            except Exception as error:
                # Mostly a database that is away or full: nobody else can take over then either. A heart that
                # stopped for good would let others do this process's work a second time.
                self._problem = f"the databases of the data folder cannot be used: {database_words(error)}"
                logger.exception("the ledger or the store of workflows cannot be used")
            self._stop.wait(BEAT_S)
