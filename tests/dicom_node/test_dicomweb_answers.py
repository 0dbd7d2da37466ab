"""What the viewer is told of the archive's JSON answers."""

from __future__ import annotations

import json

import pytest

from dicom_node.viewer.dicomweb_answers import for_viewer
from dicom_node.viewer.dicomweb_requests import Answer


@pytest.mark.parametrize("claimed", ["text/html", "image/svg+xml", "APPLICATION/PDF"])
def test_a_document_is_a_pdf_whatever_it_claims_to_be(claimed: str) -> None:
    """The viewer opens it as that, in a frame of the node's own origin."""
    dataset = {
        "00420011": {"vr": "OB", "BulkDataURI": "http://archive:8042/dicom-web/studies/1.2/bulk/00420011"},
        "00420012": {"vr": "LO", "Value": [claimed]},
    }
    (answer,) = json.loads(for_viewer(json.dumps([dataset]).encode(), Answer.METADATA))
    assert answer["00420012"]["Value"] == ["application/pdf"]
    assert answer["00420011"]["BulkDataURI"] == "/dicom-web/studies/1.2/bulk/00420011"


def test_other_datasets_get_no_such_attribute() -> None:
    assert json.loads(for_viewer(b'[{"00080060": {"vr": "CS", "Value": ["CT"]}}]', Answer.METADATA)) == [
        {"00080060": {"vr": "CS", "Value": ["CT"]}}
    ]


@pytest.mark.parametrize(
    ("body", "words"), [(b"{}", "not a list"), (b'"x"', "not a list"), (b"<html>", "Expecting value")]
)
def test_what_is_no_list_of_datasets_is_an_error(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        for_viewer(body, Answer.SEARCH)
