"""The path of one study: its own run (`study_runs`), then a run of delivery for each destination.

Both kinds are started together and taken up together; this is what the rest of the node asks for them.
"""

from __future__ import annotations

from collections.abc import Callable

from dicom_node.delivery import Delivery
from dicom_node.delivery_runs import DELIVERY, DeliveryRuns
from dicom_node.destination_settings import Destination
from dicom_node.durable import Durable
from dicom_node.refusal_reports import RefusalReports
from dicom_node.settings import WorkerSettings
from dicom_node.steps import StudySteps
from dicom_node.study_runs import STUDY, StudyRuns

_POLL_S = 0.25


class StudyWorkflows:
    """Durable work on studies and deliveries."""

    def __init__(
        self,
        *,
        durable: Durable,
        steps: StudySteps,
        refusals: RefusalReports,
        delivery: Delivery,
        worker: WorkerSettings,
        destinations: tuple[Destination, ...],
        abandoned: Callable[[str], None],
    ) -> None:
        """Nothing runs before `start`.

        Parameters
        ----------
        destinations
            Where results go; each has its own queue.
        abandoned
            Called with Orthanc's identifier of a study that is to be examined again, see `StudyRuns`.
        """
        self.durable = durable
        self.deliveries = DeliveryRuns(durable, delivery, destinations, steps.require_accepted)
        self.studies = StudyRuns(durable, steps, refusals, self.deliveries, worker, abandoned)

    def start(self) -> None:
        """Take up what was under way, and enter anew what stands in the ledger only."""
        self.durable.start(
            {STUDY: self.studies.run, DELIVERY: self.deliveries.run},
            {**self.studies.queues, **self.deliveries.queues},
            _POLL_S,
        )
        # The settings may be others than when a delivery was given up.
        self.resume(given_up=True)

    def enqueue_study(self, key: str) -> None:
        """Do what is left to do for a key."""
        self.studies.enqueue(key)

    def enqueue_originals(self, key: str) -> None:
        """Deliver the originals of a refused study to the destinations that want originals."""
        self.deliveries.enqueue(key, self.deliveries.enter(key, refused=True))

    def resume(self, *, given_up: bool = False) -> None:
        """Enter what the ledger knows as unfinished and the store of workflows does not have under way.

        At the start, and now and then: a run may end on a fault of the databases themselves. With `given_up`
        also deliveries that are not tried again by themselves.
        """
        self.durable.revive()
        self.studies.resume()
        self.deliveries.resume(given_up=given_up)
