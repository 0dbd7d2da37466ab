from __future__ import annotations

from dataclasses import fields, replace

import pytest

from dicom_node.key import WorkKey, images_digest, settings_digest, work_key
from dicom_node.settings import ReportSettings
from inference.study_result import Runtime

CHECKSUMS = [("1.2.1", "aa"), ("1.2.2", "bb")]
RUNTIME = Runtime("0.1.0", "2.13.0", "cpu", "float32")
KEY = work_key(
    "1.2",
    "1.2.9",
    CHECKSUMS,
    bundle_digest="b" * 64,
    runtime=RUNTIME,
    settings=settings_digest(ReportSettings()),
)


@pytest.mark.parametrize("part", [field.name for field in fields(WorkKey)])
def test_key_changes_with_each_of_its_parts(part: str) -> None:
    value = 1 if part == "attempt" else "another"
    assert replace(KEY, **{part: value}).hex != KEY.hex


def test_key_is_a_sha256_and_the_same_ever_after() -> None:
    assert KEY.hex == replace(KEY).hex
    assert len(KEY.hex) == 64
    int(KEY.hex, 16)


def test_order_of_arrival_does_not_matter_but_every_byte_does() -> None:
    assert images_digest(CHECKSUMS) == images_digest(reversed(CHECKSUMS))
    assert images_digest(CHECKSUMS) != images_digest([("1.2.1", "aa"), ("1.2.2", "bc")])
    assert images_digest(CHECKSUMS) != images_digest(CHECKSUMS[:1])
    assert images_digest(CHECKSUMS) != images_digest([("1.2.1", "bb"), ("1.2.2", "aa")])


def test_settings_that_change_a_result_change_the_digest() -> None:
    assert settings_digest(ReportSettings(timezone="Europe/Berlin")) != settings_digest(ReportSettings())


def test_precision_and_software_count_device_does_not() -> None:
    def key(**changes: str) -> str:
        runtime = replace(RUNTIME, **changes)
        return work_key("1.2", "1.2.9", CHECKSUMS, bundle_digest="b", runtime=runtime, settings="s").hex

    assert key(precision="bfloat16") != key()
    assert key(software_version="0.2.0") != key()
    assert key(device="cuda") == key()


def test_which_objects_are_made_is_no_part_of_the_key_and_what_stands_in_them_is() -> None:
    digest = settings_digest(ReportSettings())
    assert settings_digest(ReportSettings(objects=("sr",), refusals=("sc",), refusals_except=())) == digest
    assert settings_digest(ReportSettings(series_number_base=700)) != digest
