"""What may be asked of the archive by DICOMweb (PS3.18): reading one named study, and nothing else.

A request is matched as a whole and written anew from its parts, so that what reaches Orthanc has one of the
forms below whatever the caller wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlencode

_UID = r"(?=[0-9.]{1,64}(?:/|$))[0-9]+(?:\.[0-9]+)*"  # PS3.5, 9.1
_STUDY = rf"studies/{_UID}"
_SERIES = rf"{_STUDY}/series/{_UID}"
_INSTANCE = rf"{_SERIES}/instances/{_UID}"
_FRAMES = rf"{_INSTANCE}/frames/[1-9][0-9]{{0,8}}(?:,[1-9][0-9]{{0,8}}){{0,63}}"
_BULK = rf"{_INSTANCE}/bulk/[0-9a-fA-F]{{8}}(?:/[1-9][0-9]{{0,8}}/[0-9a-fA-F]{{8}}){{0,15}}"

_UIDS = re.compile(r"[0-9.]{1,64}(?:[,\\][0-9.]{1,64}){0,63}")
_WORD = re.compile(r"[A-Za-z0-9]{1,32}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_FIELDS = re.compile(r"all|[A-Za-z0-9]{1,64}(?:,[A-Za-z0-9]{1,64}){0,63}")
# No value is a patient's name, identifier or date: queries stand in the logs of whatever is before the node.
_SEARCH_KEYS = {
    "StudyInstanceUID": _UIDS,
    "0020000D": _UIDS,
    "SeriesInstanceUID": _UIDS,
    "0020000E": _UIDS,
    "SOPInstanceUID": _UIDS,
    "00080018": _UIDS,
    "SOPClassUID": _UIDS,
    "00080016": _UIDS,
    "Modality": _WORD,
    "00080060": _WORD,
    "limit": _NUMBER,
    "offset": _NUMBER,
    "fuzzymatching": re.compile(r"true|false"),
    "includefield": _FIELDS,
}
_STUDY_KEYS = {"StudyInstanceUID", "0020000D"}


class Answer(Enum):
    """Kinds of answers: of a search, of a request for metadata (both JSON), and bytes."""

    STUDY_SEARCH = "study search"
    SEARCH = "search"
    METADATA = "metadata"
    BYTES = "bytes"


@dataclass(frozen=True)
class DicomWebRequest:
    """A request that is allowed: path below the DICOMweb root, query as it is sent, kind of answer."""

    path: str
    query: str
    answer: Answer

    @property
    def is_json(self) -> bool:
        """Whether `application/dicom+json` is asked for."""
        return self.answer is not Answer.BYTES


class UnknownResource(Exception):  # noqa: N818 - the name says what happened, as those in dicom_node.errors
    """A path that has none of the allowed forms."""


class UnfitQuery(Exception):  # noqa: N818
    """A parameter that is not allowed, or whose value has no allowed form; `name` is one of ours or ""."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is absent or not of its form." if name else "A parameter is not allowed.")
        self.name = name


_RESOURCES: tuple[tuple[re.Pattern[str], Answer, dict[str, re.Pattern[str]]], ...] = tuple(
    (re.compile(pattern), answer, keys)
    for pattern, answer, keys in (
        ("studies", Answer.STUDY_SEARCH, _SEARCH_KEYS),
        (rf"{_STUDY}/series", Answer.SEARCH, _SEARCH_KEYS),
        (rf"{_STUDY}/instances", Answer.SEARCH, _SEARCH_KEYS),
        (rf"{_SERIES}/instances", Answer.SEARCH, _SEARCH_KEYS),
        (rf"(?:{_STUDY}|{_SERIES}|{_INSTANCE})/metadata", Answer.METADATA, {}),
        (_INSTANCE, Answer.BYTES, {}),
        (_FRAMES, Answer.BYTES, {}),
        (_BULK, Answer.BYTES, {}),
        (rf"(?:{_INSTANCE}|{_FRAMES})/rendered", Answer.BYTES, {}),
    )
)


def allowed_request(path: str, query: Iterable[tuple[str, str]]) -> DicomWebRequest:
    """The request for `path` (decoded, below the DICOMweb root) with these parameters.

    Raises
    ------
    UnknownResource
        If the path is none of those above.
    UnfitQuery
        If a parameter is not allowed there, or a search for studies names none.
    """
    for pattern, answer, keys in _RESOURCES:
        if pattern.fullmatch(path) is None:
            continue
        kept = []
        for name, value in query:
            if name not in keys or keys[name].fullmatch(value) is None:
                raise UnfitQuery(name if name in keys else "")
            kept.append((name, value))
        if answer is Answer.STUDY_SEARCH and not _STUDY_KEYS & {name for name, _ in kept}:
            raise UnfitQuery("StudyInstanceUID")
        return DicomWebRequest(path, urlencode(kept), answer)
    raise UnknownResource
