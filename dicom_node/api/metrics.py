"""`GET /metrics`: the ledger for Prometheus, read anew at every scrape."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from dicom_node.node import Node

_STATES = ("queued", "fetching", "analysing", "reporting", "storing", "reported", "refused", "failing")


def metrics_router(node: Node) -> APIRouter:
    """Metrics of a node."""
    router = APIRouter(tags=["metrics"])
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LedgerCollector(node))

    @router.get("/metrics")
    def metrics() -> Response:
        """Prometheus text format."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


class LedgerCollector(Collector):
    """Studies by state, seconds by stage, queue and deliveries, as the ledger has them at this moment."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        state = self._node.health()
        yield GaugeMetricFamily("dicom_node_ready", "1 while the node takes studies", float(state.ready))
        yield GaugeMetricFamily(
            "dicom_node_archive_reachable", "1 while Orthanc answers", float(state.archive_reachable)
        )
        yield GaugeMetricFamily("dicom_node_queue", "Studies that are not ended", state.unfinished)
        yield GaugeMetricFamily(
            "dicom_node_deliveries_failing", "Deliveries being retried", state.failing_deliveries
        )
        studies = GaugeMetricFamily("dicom_node_studies", "Studies by state", labels=["state"])
        counts = self._node.ledger.counts()
        for name in _STATES:
            studies.add_metric([name], counts.get(name, 0))
        yield studies
        stages = SummaryMetricFamily("dicom_node_stage_seconds", "Duration of each stage", labels=["stage"])
        for stage, (count, seconds) in sorted(self._node.ledger.stage_totals().items()):
            stages.add_metric([stage], count, seconds)
        yield stages
