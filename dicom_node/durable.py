"""Durable work on DBOS: workflows known by their id, steps that are checkpointed, queues, delayed runs.

The store (SQLite, or PostgreSQL in a schema of its own) holds JSON, never pickles. The executor name is fixed
and the application version pinned, so that the work of a killed process is taken up by its next start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetEnqueueOptions, SetWorkflowID

WORKFLOW_VERSION = "1"
"""Changes only when workflows that an earlier version left unfinished cannot be gone on with."""

_ACTIVE = frozenset({"PENDING", "ENQUEUED", "DELAYED"})
_STOP_TIMEOUT_S = 120.0

Outcome = dict[str, Any]
Workflow = Callable[..., None]


class NodeStopping(BaseException):
    """Leaves a workflow where it is, as a kill would: the next start goes on from there.

    No `Exception`, since DBOS would then record the workflow as ended with an error.
    """


class Durable:
    """DBOS of this process (it is one for each process): `register`, `start`, `enqueue`, `stop`."""

    def __init__(self, database_url: str, executor_id: str) -> None:
        self._database_url = database_url
        self._executor_id = executor_id
        self._workflows: dict[str, Workflow] = {}
        self._steps = _Steps()
        self._running: set[str] = set()
        self._missed: set[str] = set()

    def start(self, workflows: dict[str, Workflow], queues: dict[str, int], poll_s: float) -> None:
        """Launch; workflows of a killed process of the same name are taken up.

        Parameters
        ----------
        workflows
            Functions by the names under which they are recorded; arguments are words and numbers.
        queues
            How many workflows of each queue this process does at once.
        poll_s
            Seconds between two looks into a queue.
        """
        config: DBOSConfig = {
            "name": "dicom-node",
            "system_database_url": self._database_url,
            "executor_id": self._executor_id,
            "application_version": WORKFLOW_VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
            "enable_otlp": False,
        }
        DBOS(config=config)
        _own_log_lines()
        for name, function in workflows.items():
            # However often the node is restarted, no study is given up.
            workflow = DBOS.workflow(name=name, max_recovery_attempts=None)
            self._workflows[name] = workflow(self._tracked(function))
        DBOS.launch()
        for queue, workers in queues.items():
            DBOS.register_queue(
                queue,
                worker_concurrency=workers,
                polling_interval_sec=poll_s,
                on_conflict="always_update",
            )

    def stop(self) -> None:
        """Let the steps under way end, begin no other, and leave the rest to the next start."""
        self._steps.stop(_STOP_TIMEOUT_S)
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        DBOS.destroy(destroy_registry=True)

    def enqueue(
        self, queue: str, workflow: str, workflow_id: str, *arguments: str, delay_s: float = 0
    ) -> None:
        """Enter a workflow; one that is known by this id already stays as it is."""
        delay = delay_s if delay_s > 0 else None
        with SetWorkflowID(workflow_id), SetEnqueueOptions(delay_seconds=delay):
            DBOS.enqueue_workflow(queue, self._workflows[workflow], *arguments)

    def hasten(self, workflow_id: str) -> None:
        """Let a workflow that was entered with a delay begin now; any other stays as it is."""
        DBOS.set_workflow_delay(workflow_id, delay_seconds=0)

    def step(self, name: str, function: Callable[..., Outcome], *arguments: Any) -> Outcome:
        """Within a workflow: do `function` once; after a crash its recorded outcome is returned instead."""

        def counted() -> Outcome:
            with self._steps.running():
                return function(*arguments)

        outcome: Outcome = DBOS.run_step({"name": name}, counted)
        return outcome

    def is_active(self, workflow_id: str) -> bool | None:
        """Whether a workflow is waiting or under way; None where none is known by this id."""
        status = DBOS.get_workflow_status(workflow_id)
        return status.status in _ACTIVE if status is not None else None

    def revive(self) -> None:
        """Put runs back into their queues that are marked as under way here and are not.

        A store that cannot be written (a full disk) loses a run between two steps without recording its end.
        Twice missed in a row, since one just given out has not begun yet.
        """
        pending = {
            item.workflow_id: item.queue_name
            for item in DBOS.list_workflows(executor_id=self._executor_id, status="PENDING")
        }
        missing = pending.keys() - self._running
        for workflow_id in missing & self._missed:
            DBOS.resume_workflow(workflow_id, queue_name=pending[workflow_id])
        self._missed = missing - self._missed

    def _tracked(self, function: Workflow) -> Workflow:
        """The function as DBOS takes it (a bound method bears no marks), in `_running` while it runs."""

        def run(*arguments: str) -> None:
            workflow_id = DBOS.workflow_id or ""
            self._running.add(workflow_id)
            try:
                function(*arguments)
            finally:
                self._running.discard(workflow_id)

        return run

    def take_over(self, executor_id: str) -> int:
        """Put what a dead process of another name has under way back into its queues; how much that was."""
        left = DBOS.list_workflows(executor_id=executor_id, status="PENDING")
        for workflow in left:
            DBOS.resume_workflow(workflow.workflow_id, queue_name=workflow.queue_name)
        return len(left)


class _Steps:
    """Counts the steps under way, and lets none begin after `stop`."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running = 0
        self._stopping = False

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._condition:
            if self._stopping:
                raise NodeStopping
            self._running += 1
        try:
            yield
        finally:
            with self._condition:
                self._running -= 1
                self._condition.notify_all()

    def stop(self, timeout_s: float) -> None:
        with self._condition:
            self._stopping = True
            self._condition.wait_for(lambda: self._running == 0, timeout_s)
        # The last step's outcome is recorded by its own thread, just after it ended.
        time.sleep(0.2)


def _own_log_lines() -> None:
    """DBOS's lines go the way of all others, as JSON, instead of to a handler of its own."""
    dbos = logging.getLogger("dbos")
    dbos.handlers.clear()
    dbos.propagate = True
