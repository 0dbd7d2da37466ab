from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.queued_studies import Interval, QueueTrace, TracedStudy, trace_queue
from dicom_node.settings import HttpSettings
from dicom_node.uploads import receive_zip
from inference.analyse import Analyser

TRACE = QueueTrace(
    concurrency=2,
    studies=(
        TracedStudy(prepare=Interval(0.0, 2.0), networks=Interval(2.0, 5.0)),
        TracedStudy(prepare=Interval(0.0, 3.0), networks=Interval(5.0, 8.0)),
        TracedStudy(prepare=Interval(5.0, 10.0), networks=Interval(10.0, 12.0)),
    ),
)


def test_idle_is_what_the_networks_waited_between_first_and_last() -> None:
    assert TRACE.idle_share == pytest.approx(2 / 10)
    assert TRACE.studies_per_hour == pytest.approx(3 * 3600 / 12)
    form = json.loads(json.dumps(TRACE.to_json()))
    assert form["idle_share"] == TRACE.idle_share
    assert form["studies"][2] == {
        "prepare": {"start_s": 5.0, "end_s": 10.0},
        "networks": {"start_s": 10.0, "end_s": 12.0},
    }


def test_the_table_has_a_line_for_each_study() -> None:
    out = io.StringIO()
    Console(file=out, width=130).print(TRACE.table())
    assert "networks idle 20.0%" in out.getvalue()
    first, *_, last = [line for line in out.getvalue().splitlines() if "to" in line and "#" in line][-3:]
    assert first.index("#") < last.index("-") < last.index("#")


def test_one_after_the_other_no_study_is_prepared_while_another_is_read(
    tiny_bundle: Path, archive: Path, tmp_path: Path
) -> None:
    files = receive_zip(archive, HttpSettings(), tmp_path).files
    trace = trace_queue(Analyser(tiny_bundle), [files] * 3, 1)
    moments = [
        moment
        for study in trace.studies
        for interval in (study.prepare, study.networks)
        for moment in (interval.start_s, interval.end_s)
    ]
    assert moments == sorted(moments)
    assert 0 < trace.idle_share < 1


def test_the_networks_have_one_study_at_a_time_however_many_are_in_work(
    tiny_bundle: Path, archive: Path, tmp_path: Path
) -> None:
    files = receive_zip(archive, HttpSettings(), tmp_path).files
    trace = trace_queue(Analyser(tiny_bundle), [files] * 4, 3)
    ends = [study.networks.end_s for study in trace.studies]
    begins = [study.networks.start_s for study in trace.studies]
    assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))
    # Three were begun before the first was read.
    assert sum(study.prepare.start_s < ends[0] for study in trace.studies) >= 3
