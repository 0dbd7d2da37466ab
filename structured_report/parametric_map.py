"""Saliency as a Parametric Map (PS3.3 A.75) in its own coarse grid: one object for each located finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom import (
    PixelMeasuresSequence,
    PlaneOrientationSequence,
    PlanePositionSequence,
    VOILUTFunctionValues,
    VOILUTTransformation,
)
from highdicom.pm import ParametricMap, RealWorldValueMapping
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ParametricMapStorage

from structured_report.attention import Attention
from structured_report.identifiers import dimension_uid, object_uid, series_uid
from structured_report.language import short
from structured_report.object_header import (
    ReportBasis,
    ReportObject,
    complete,
    name_dimensions,
    series_description,
)
from structured_report.provenance import MANUFACTURER
from structured_report.references import imaging_header, placed

LARGEST_BYTES = 20_000_000
_NO_UNITS = Code("1", "UCUM", "no units")
_AXES = 3


def parametric_maps(basis: ReportBasis, attention: Sequence[Attention]) -> list[ReportObject]:
    """The maps; one without any value, or larger than `LARGEST_BYTES`, is left out.

    There is none of images that name no frame of reference.
    """
    if not placed(basis.source):
        return []
    return [
        _map(basis, item, number)
        for number, item in enumerate(attention, start=1)
        if item.values.max() > 0 and item.values.size * np.dtype(np.float32).itemsize <= LARGEST_BYTES
    ]


def _map(basis: ReportBasis, attention: Attention, number: int) -> ReportObject:
    result, ensemble = basis.result, basis.algorithms[0]
    values = np.ascontiguousarray(attention.values, dtype=np.float32)
    highest = float(values.max())
    words = basis.words
    explanation = words.sentence("attention_to", finding=words.finding(attention.finding))
    along, down, across = (attention.affine[:_AXES, axis] for axis in range(_AXES))
    dataset = ParametricMap(
        source_images=[imaging_header(next(iter(basis.source.instances.values())))],
        pixel_array=values,
        series_instance_uid=series_uid(result.key, ParametricMapStorage),
        series_number=basis.context.series_number_base + 4,
        sop_instance_uid=object_uid(result.key, ParametricMapStorage, number),
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=ensemble.model,
        software_versions=ensemble.version,
        device_serial_number=ensemble.uid,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="SALIENCY",
                lut_explanation=short(explanation),
                unit=_NO_UNITS,
                value_range=(0.0, highest),
                slope=1.0,
                intercept=0.0,
                quantity_definition=codes.DCM.Saliency,
            )
        ],
        voi_lut_transformations=[
            VOILUTTransformation(
                window_center=highest / 2,
                window_width=highest,
                voi_lut_function=VOILUTFunctionValues.LINEAR_EXACT,
            )
        ],
        content_label="SALIENCY",
        content_description=words.sentence("attention_notice"),
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=(_length(down), _length(across)), slice_thickness=_length(along)
        ),
        plane_orientation=PlaneOrientationSequence(
            "PATIENT", (*(across / _length(across)), *(down / _length(down)))
        ),
        plane_positions=[
            PlanePositionSequence("PATIENT", tuple(attention.affine[:_AXES, _AXES] + index * along))
            for index in range(len(values))
        ],
        series_description=series_description(result, words.sentence("saliency"), words),
    )
    dataset.BodyPartExamined = "CHEST"
    complete(dataset, basis)
    name_dimensions(dataset, dimension_uid(result.key, ParametricMapStorage, number))
    return ReportObject("pm", dataset)


def _length(axis: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(axis))
