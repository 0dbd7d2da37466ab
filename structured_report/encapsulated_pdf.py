"""The report as an Encapsulated PDF (PS3.3 A.45.1), for readers that know neither reports nor key images."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from structured_report.codes import concept
from structured_report.identifiers import object_uid, series_uid
from structured_report.object_header import ReportBasis, ReportObject, complete, series_description
from structured_report.pdf_document import pdf_document
from structured_report.references import processed_images
from structured_report.source_text import empty


def encapsulated_pdf(basis: ReportBasis, images: Sequence[Image.Image]) -> ReportObject:
    """The document with the key `images`, in a series of its own."""
    result, words = basis.result, basis.words
    content = pdf_document(result, basis.when, words, images)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.SOPInstanceUID = object_uid(result.key, EncapsulatedPDFStorage, 1)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = result.study_uid
    dataset.SeriesInstanceUID = series_uid(result.key, EncapsulatedPDFStorage)
    dataset.Modality = "DOC"
    dataset.SeriesNumber = basis.context.series_number_base + 5
    dataset.SeriesDescription = series_description(result, words.sentence("report_as_pdf"), words)
    dataset.InstanceNumber = 1
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "NO"
    dataset.RecognizableVisualFeatures = "NO"
    dataset.add(empty("AcquisitionDateTime"))
    dataset.DocumentTitle = words.sentence("summary")
    dataset.ConceptNameCodeSequence = [concept("imaging_report")]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(content)
    dataset.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    dataset.SourceInstanceSequence = processed_images(
        basis.source, (reference.sop_instance_uid for reference in result.key_slices)
    )
    if basis.source.request_attributes:
        dataset.RequestAttributesSequence = list(basis.source.request_attributes)
    complete(dataset, basis)
    return ReportObject("pdf", dataset)
