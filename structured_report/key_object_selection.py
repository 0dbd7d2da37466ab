"""Key Object Selection (PS3.3 A.35.4, TID 2010): the original slices that matter."""

from __future__ import annotations

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import DeviceObserverIdentifyingAttributes, ObserverContext
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from structured_report.codes import concept
from structured_report.identifiers import object_uid, series_uid
from structured_report.object_header import (
    ReportBasis,
    ReportObject,
    complete,
    series_description,
)
from structured_report.percentage import percentage
from structured_report.provenance import MANUFACTURER, Device
from structured_report.reading_order import in_reading_order
from structured_report.references import imaging_header


def key_object_selection(basis: ReportBasis) -> ReportObject:
    """The selection, titled (113000, DCM, "Of Interest"); its description names the present findings."""
    result = basis.result
    selected = [
        imaging_header(basis.source.instances[uid])
        for uid in dict.fromkeys(reference.sop_instance_uid for reference in result.key_slices)
    ]
    content = KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=selected,
        observer_device_context=_observer(basis.algorithms[0]),
        description=_description(basis),
    )
    _name_frames(content, basis)
    dataset = KeyObjectSelectionDocument(
        evidence=selected,
        content=content,
        series_instance_uid=series_uid(result.key, KeyObjectSelectionDocumentStorage),
        series_number=basis.context.series_number_base + 3,
        sop_instance_uid=object_uid(result.key, KeyObjectSelectionDocumentStorage, 1),
        instance_number=1,
        manufacturer=MANUFACTURER,
        requested_procedures=basis.source.referenced_requests or None,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=series_description(result, basis.words.sentence("key_slices"), basis.words),
    )
    complete(dataset, basis)
    return ReportObject("kos", dataset)


def _observer(ensemble: Device) -> ObserverContext:
    """TID 1004: the ensemble."""
    attributes = DeviceObserverIdentifyingAttributes(
        uid=ensemble.uid, name=ensemble.model, manufacturer_name=MANUFACTURER, model_name=ensemble.model
    )
    return ObserverContext(concept("device"), observer_identifying_attributes=attributes)


def _description(basis: ReportBasis) -> str:
    result, words = basis.result, basis.words
    named = ", ".join(
        f"{words.finding(finding.name)} {percentage(finding.probability, finding.operating_point)} %"
        for finding in in_reading_order(result.findings)
        if finding.present
    )
    text = words.sentence("key_slices_of", findings=named or words.sentence("no_finding_above"))
    return f"{words.sentence('demonstration')}. {text}" if result.bundle.demonstration else text


def _name_frames(content: KeyObjectSelection, basis: ReportBasis) -> None:
    """The frames of a multi-frame instance; highdicom refers to the whole of it."""
    frames: dict[str, list[int]] = {}
    for reference in basis.result.key_slices:
        if reference.frame_number is not None:
            numbers = frames.setdefault(reference.sop_instance_uid, [])
            if reference.frame_number not in numbers:
                numbers.append(reference.frame_number)
    for item in content[0].ContentSequence:
        for image in item.get("ReferencedSOPSequence") or [Dataset()]:
            numbers = frames.get(str(image.get("ReferencedSOPInstanceUID", "")), [])
            if numbers:
                image.ReferencedFrameNumber = numbers
