"""Small DICOM objects with the structures that a viewer must show, made with highdicom from a CT series."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import highdicom as hd
import numpy as np
from highdicom.sr import (
    Comprehensive3DSR,
    GraphicTypeValues,
    ImageRegion,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    SourceImageForRegion,
    TrackingIdentifier,
)
from highdicom.sr.templates import DeviceObserverIdentifyingAttributes
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

from structured_report.provenance import MANUFACTURER

LUNG_NODULE = Code("786838002", "SCT", "Lung nodule")


def _uid(*names: object) -> UID:
    return generate_uid(entropy_srcs=["viewer", *map(str, names)])


def file_bytes(dataset: Dataset) -> bytes:
    with BytesIO() as buffer:
        dcmwrite(buffer, dataset, enforce_file_format=True)
        return buffer.getvalue()


def located_report(
    sources: Sequence[Dataset],
    index: int,
    polygon: Sequence[tuple[float, float]],
    probability: float,
    manufacturer: str = MANUFACTURER,
) -> Dataset:
    """TID 1500 with one located finding: TID 1410, the outline as (column, row) on slice `index`."""
    image = SourceImageForRegion.from_source_image(sources[index])
    region = ImageRegion(GraphicTypeValues.POLYLINE, np.array([*polygon, polygon[0]]), image)
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=_uid("nodule"), identifier="Lung nodule"),
        referenced_region=region,
        finding_type=LUNG_NODULE,
        geometric_purpose=Code("75958009", "SCT", "Bounded by"),
        measurements=[
            Measurement(
                Code("122157", "DCM", "Probability of diagnosis"), probability, Code("%", "UCUM", "%")
            )
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(Code("705057003", "SCT", "Presence"), Code("52101004", "SCT", "Present"))
        ],
    )
    device = ObserverContext(codes.DCM.Device, DeviceObserverIdentifyingAttributes(uid=_uid("device")))
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device),
        procedure_reported=Code("169069000", "SCT", "CT of chest"),
        imaging_measurements=[group],
    )
    return Comprehensive3DSR(
        evidence=list(sources),
        content=content[0],
        series_instance_uid=_uid("located"),
        series_number=9100,
        sop_instance_uid=_uid("located", 1),
        instance_number=1,
        is_complete=True,
        manufacturer=manufacturer,
        series_description="Example outline",
    )


def saliency_segmentation(sources: Sequence[Dataset], mask: NDArray[np.uint8]) -> Dataset:
    """A binary SEG of `mask` [slice, row, column]."""
    algorithm = hd.AlgorithmIdentificationSequence("example", codes.DCM.ArtificialIntelligence, "1")
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Attention of the algorithm",
        segmented_property_category=Code("49755003", "SCT", "Morphologically abnormal structure"),
        segmented_property_type=LUNG_NODULE,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )
    segment.RecommendedDisplayCIELabValue = [34885, 53485, 50171]  # red
    return hd.seg.Segmentation(
        source_images=list(sources),
        pixel_array=mask,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=_uid("saliency"),
        series_number=9101,
        sop_instance_uid=_uid("saliency", 1),
        instance_number=1,
        manufacturer="Tests",
        manufacturer_model_name="Tests",
        software_versions="1",
        device_serial_number="1",
        series_description="Example saliency",
    )
