from __future__ import annotations

import json
import logging
import threading
import warnings
from io import StringIO

import pytest

from dicom_node.errors import ArchiveUnavailable, describe_fault
from dicom_node.log import configure, work_on


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    stream = StringIO()
    configure("INFO", stream)
    return stream


def test_line_is_json_with_key_and_fields(stream: StringIO) -> None:
    with work_on("ab12"):
        logging.getLogger("node").info("fetched", extra={"instances": 143})
    logging.getLogger("node").info("idle")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["message"], first["key"], first["instances"], first["level"]) == (
        "fetched",
        "ab12",
        143,
        "INFO",
    )
    assert first["time"].endswith("+00:00")
    assert "key" not in second


def test_exception_is_type_and_place_without_its_text(stream: StringIO) -> None:
    try:
        raise ValueError("bad value of PatientName: Geheim^Niemand")
    except ValueError:
        logging.getLogger("node").exception("failed")
    line = json.loads(stream.getvalue())
    assert line["fault"].startswith("ValueError at test_log.py:")
    assert line["frames"][-1].endswith("test_exception_is_type_and_place_without_its_text")
    assert "Geheim" not in stream.getvalue()


def test_warning_of_a_library_is_category_and_place(stream: StringIO) -> None:
    warnings.warn("Invalid value for VR PN: 'Geheim^Niemand'", UserWarning, stacklevel=1)
    line = json.loads(stream.getvalue())
    assert line["message"].startswith("UserWarning at ")
    assert "Geheim" not in stream.getvalue()


@pytest.mark.parametrize("library", ["pydicom", "pynetdicom.acse", "httpx", "httpcore.http11"])
def test_libraries_that_write_tags_and_urls_are_silent(stream: StringIO, library: str) -> None:
    logging.getLogger(library).warning("GET http://127.0.0.1/studies?PatientName=Geheim^Niemand")
    assert stream.getvalue() == ""


def test_own_faults_are_told_in_full() -> None:
    assert (
        describe_fault(ArchiveUnavailable("Orthanc does not answer in time"))
        == "Orthanc does not answer in time"
    )
