from __future__ import annotations

from dicom_node.web.stage_bars import stage_bars
from dicom_node.web.words import Words


def test_stages_follow_each_other_and_destinations_are_side_by_side() -> None:
    seconds = {
        "store": 1.0, "deliver:b": 2.0, "deliver:a": 4.0, "originals:a": 2.0, "report": 1.0, "fusion": 1.0,
        "read": 3.0, "fetch": 1.0, "queue": 1.0, "unheard": 2.0,
    }  # fmt: skip
    bars = stage_bars(seconds, {"read": 3.0, "fusion": 1.0}, Words("en"))
    assert [bar.name for bar in bars] == [
        "queue", "fetch", "read images", "fusion", "unheard", "report", "store in archive",
        "deliver to a", "deliver to b", "originals to a",
    ]  # fmt: skip
    at = {bar.name: round(bar.start * 16 / 100, 6) for bar in bars}
    assert (at["queue"], at["fetch"], at["read images"], at["report"]) == (0, 1, 2, 8)
    assert at["deliver to a"] == at["deliver to b"] == 10
    assert at["originals to a"] == 14
    assert max(bar.start + bar.length for bar in bars) == 100


def test_nothing_is_over_yet() -> None:
    assert stage_bars({}, {}, Words("en")) == []
    (bar,) = stage_bars({"queue": 0.0}, {}, Words("ru"))
    assert (bar.name, bar.length) == ("очередь", 0)
