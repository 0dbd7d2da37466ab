"""An `InstanceHeader` as plain JSON: what a process that parses strangers' files hands back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from inference.functional_groups import FrameTraits
from inference.image_plane import ImagePlane
from inference.instance_header import InstanceHeader


def header_to_json(header: InstanceHeader) -> dict[str, Any]:
    """Plain JSON types only; traits that frames have in common are named once."""
    kinds = list(dict.fromkeys((header.traits, *header.frame_traits)))
    number = {traits: index for index, traits in enumerate(kinds)}
    return {
        **{name: getattr(header, name) for name in _PLAIN},
        "traits": [asdict(traits) for traits in kinds],
        "planes": [[plane.frame_number, plane.position_mm, plane.orientation, plane.pixel_spacing_mm,
                    plane.rows, plane.columns] for plane in header.planes],
        "frame_traits": [number[traits] for traits in header.frame_traits],
    }  # fmt: skip


def header_from_json(data: dict[str, Any]) -> InstanceHeader:
    """The header that `header_to_json` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError, IndexError
        If it is none.
    """
    kinds = [
        FrameTraits(**{**traits, "image_type": tuple(traits["image_type"])}) for traits in data["traits"]
    ]
    uid = data["sop_instance_uid"]
    return InstanceHeader(
        **{name: data[name] for name in _PLAIN},
        traits=kinds[0],
        planes=tuple(_plane(uid, values) for values in data["planes"]),
        frame_traits=tuple(kinds[index] for index in data["frame_traits"]),
    )


_PLAIN = (
    "sop_instance_uid", "sop_class_uid", "study_uid", "series_uid", "patient", "modality", "series_number",
    "instance_number", "region", "projection", "samples_per_pixel", "signed_pixels", "transfer_syntax_uid",
)  # fmt: skip


def _plane(uid: str, data: list[Any]) -> ImagePlane:
    frame_number, (x, y, z), orientation, (between_rows, between_columns), rows, columns = data
    row_x, row_y, row_z, column_x, column_y, column_z = orientation
    return ImagePlane(
        sop_instance_uid=uid,
        frame_number=frame_number,
        position_mm=(x, y, z),
        orientation=(row_x, row_y, row_z, column_x, column_y, column_z),
        pixel_spacing_mm=(between_rows, between_columns),
        rows=rows,
        columns=columns,
    )
