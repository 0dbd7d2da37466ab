"""What is changed in the archive's JSON answers (PS3.18 F) before the viewer gets them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from dicom_node.viewer.config import DICOMWEB_ROOT
from dicom_node.viewer.dicomweb_requests import Answer

_RETRIEVE_URL = "00081190"
_PATIENT_ID = "00100020"
_MIME_TYPE = "00420012"  # of an encapsulated document
_PDF = "application/pdf"


def for_viewer(body: bytes, answer: Answer) -> bytes:
    """The answer with links that lead to this node; a search for studies without Patient IDs.

    A link becomes a path: what scheme and name the node has for the caller, a proxy before it knows better.
    Without the Patient ID the viewer does not look for other studies of the patient, which it would do by a
    URL with that ID in it, for every log on the way. It still reads the ID from the metadata and shows it.
    A document is a PDF whatever it calls itself: the viewer opens it as what it claims to be, and a page
    would be one of this origin.

    Raises
    ------
    ValueError
        If it is not JSON, or not a list of data sets.
    """
    if not body.strip():
        return b"[]"
    datasets = json.loads(body)
    if not isinstance(datasets, list):
        raise ValueError("not a list of data sets")
    for dataset in datasets:
        _mend_links(dataset)
        if _MIME_TYPE in dataset:
            dataset[_MIME_TYPE] = {"vr": "LO", "Value": [_PDF]}
        if answer is Answer.STUDY_SEARCH:
            dataset.pop(_PATIENT_ID, None)
    return json.dumps(datasets, ensure_ascii=False, separators=(",", ":")).encode()


def _mend_links(dataset: dict[str, Any]) -> None:
    """BulkDataURI of every attribute at any depth, and Retrieve URL (0008,1190)."""
    for tag, attribute in dataset.items():
        if "BulkDataURI" in attribute:
            attribute["BulkDataURI"] = _path_of(attribute["BulkDataURI"])
        values = attribute.get("Value", ())
        if tag == _RETRIEVE_URL:
            attribute["Value"] = [_path_of(value) for value in values]
        elif attribute.get("vr") == "SQ":
            for item in values:
                _mend_links(item)


def _path_of(url: str) -> str:
    """The part of a link from the DICOMweb root on, under this node's root."""
    path = urlsplit(url).path
    _, root, rest = path.partition("/dicom-web/")
    return f"{DICOMWEB_ROOT}/{rest}" if root else path
