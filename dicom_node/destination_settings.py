"""Where results go, by setting: PACS by C-STORE, worklists by HL7."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from dicom_node.settings_section import AETitle, ObjectKind, Port, Section

SrClass = Literal["comprehensive_3d", "comprehensive", "enhanced"]
"""SOP class of structured reports (PS3.4 Annex B)."""
CharacterSet = Literal[
    "ISO_IR 192",
    "ISO_IR 100",
    "ISO_IR 101",
    "ISO_IR 109",
    "ISO_IR 110",
    "ISO_IR 126",
    "ISO_IR 144",
    "ISO_IR 148",
    "GB18030",
]
"""Defined terms of Specific Character Set (PS3.3 C.12.1.1.2): Unicode, and sets of one alphabet each."""


class _Receiver(Section):
    """What every destination has."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")
    host: str
    port: Port
    timeout_s: float = Field(default=30, gt=0)
    retry_first_s: float = Field(default=5, gt=0)
    retry_longest_s: float = Field(default=900, gt=0)

    @property
    def wants_originals(self) -> bool:
        """Whether the CT itself is sent too."""
        return False

    def wants_any(self, kinds: Collection[str]) -> bool:
        """Whether any DICOM object of these kinds is sent."""
        return False


class DestinationSettings(_Receiver):
    """A PACS that gets the results by C-STORE."""

    kind: Literal["dicom"] = "dicom"
    aet: AETitle
    objects: tuple[ObjectKind, ...] = Field(default=("sr", "sc"), description="those that it gets")
    sr_class: SrClass = Field(
        default="comprehensive_3d", description="of the structured reports that it gets"
    )
    character_set: CharacterSet = Field(default="ISO_IR 192", description="of the text in what it gets")
    forward_originals: bool = False

    @property
    def wants_originals(self) -> bool:
        """Whether the CT itself is sent too."""
        return self.forward_originals

    def wants_any(self, kinds: Collection[str]) -> bool:
        """Whether any DICOM object of these kinds is sent."""
        return not set(self.objects).isdisjoint(kinds)

    def __str__(self) -> str:
        return f"{self.aet} at {self.host}:{self.port}"


class Hl7DestinationSettings(_Receiver):
    """A worklist or an interface engine that gets an ORU^R01 over MLLP."""

    kind: Literal["hl7"]
    sending_application: str = Field(default="DICOM-NODE", max_length=180)
    sending_facility: str = Field(default="", max_length=180)
    receiving_application: str = Field(default="", max_length=180)
    receiving_facility: str = Field(default="", max_length=180)
    top_findings: int = Field(default=5, ge=0, le=100)
    link: str = Field(default="", pattern=r"^(https?://[^\s{}]+(\{(study_uid|accession)\}[^\s{}]*)*)?$")

    def __str__(self) -> str:
        return f"the HL7 receiver at {self.host}:{self.port}"


def _kind_of(value: object) -> str:
    """A destination that does not name its kind is a PACS, as all were before there were others."""
    kind = value.get("kind", "dicom") if isinstance(value, dict) else getattr(value, "kind", "dicom")
    return str(kind)


Destination = Annotated[
    Annotated[DestinationSettings, Tag("dicom")] | Annotated[Hl7DestinationSettings, Tag("hl7")],
    Discriminator(_kind_of),
]
"""Any place that gets results."""
