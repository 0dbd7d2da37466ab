"""Saliency as a Parametric Map (PS3.3 A.75) in its own coarse grid: one object for each located finding.

All of the map, what lies in padding and in the air around the patient too: regions and segmentations are made
of it, and here it can be checked.
"""

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
"""Of one object, about; a larger map is made coarser until it fits, and its label says by how much."""

_BYTES_A_FRAME = 2_000  # of its functional groups; 500 in fact
_NO_UNITS = Code("1", "UCUM", "no units")
_AXES = 3


def parametric_maps(basis: ReportBasis, attention: Sequence[Attention]) -> list[ReportObject]:
    """The maps; one without any value is left out.

    There is none of images that name no frame of reference.
    """
    if not placed(basis.source):
        return []
    return [
        _map(basis, item, number) for number, item in enumerate(attention, start=1) if item.values.max() > 0
    ]


def _map(basis: ReportBasis, attention: Attention, number: int) -> ReportObject:
    result, ensemble = basis.result, basis.algorithms[0]
    values, affine, factor = _fitting(attention)
    highest = float(values.max())
    words = basis.words
    explanation = words.sentence("attention_to", finding=words.finding(attention.finding))
    along, down, across = (affine[:_AXES, axis] for axis in range(_AXES))
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
        content_label="SALIENCY" if factor == 1 else f"SALIENCY_1_{factor}",
        content_description=words.sentence("attention_notice"),
        pixel_measures=PixelMeasuresSequence(
            pixel_spacing=(_length(down), _length(across)), slice_thickness=_length(along)
        ),
        plane_orientation=PlaneOrientationSequence(
            "PATIENT", (*(across / _length(across)), *(down / _length(down)))
        ),
        plane_positions=[
            PlanePositionSequence("PATIENT", tuple(affine[:_AXES, _AXES] + index * along))
            for index in range(len(values))
        ],
        series_description=series_description(result, words.sentence("saliency"), words),
    )
    dataset.BodyPartExamined = "CHEST"
    complete(dataset, basis)
    name_dimensions(dataset, dimension_uid(result.key, ParametricMapStorage, number))
    return ReportObject("pm", dataset)


def _fitting(attention: Attention) -> tuple[NDArray[np.float32], NDArray[np.float64], int]:
    """The map, its affine, and how many of its places along each axis make one, so that an object holds it.

    A coarser place has the greatest value of those that it is made of: no peak is lost.
    """
    values, affine, factor = np.ascontiguousarray(attention.values, np.float32), attention.affine, 1
    while values.nbytes + _BYTES_A_FRAME * len(values) > LARGEST_BYTES:
        a, b, c = (size + size % 2 for size in values.shape)
        even = np.zeros((a, b, c), np.float32)
        even[tuple(map(slice, values.shape))] = values
        values = even.reshape(a // 2, 2, b // 2, 2, c // 2, 2).max(axis=(1, 3, 5))
        doubled = np.diag([2.0, 2.0, 2.0, 1.0])
        doubled[:_AXES, _AXES] = 0.5  # the middle of the first two
        affine, factor = affine @ doubled, 2 * factor
    return values, affine, factor


def _length(axis: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(axis))
