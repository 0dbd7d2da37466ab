"""Saliency of the located findings and an overview: a small file beside the result, read without pickle.

Each map stands in its own coarse grid (some kilobytes) and can be drawn on any slice of the CT again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from inference.body_extent import BodyExtent
from inference.overview import CoronalOverview
from inference.saliency import AXES, SaliencyMap

_FORMAT = 1


@dataclass(frozen=True)
class StoredSaliency:
    """What the file holds.

    Attributes
    ----------
    maps
        By name of the finding, values rounded to float16. `SaliencyMap.plane` gives a slice of the CT.
    volume_affine
        4 x 4: (column, row, slice) indices of the CT volume to the patient's LPS mm, as `CTVolume.affine`.
    overview
        A coronal plane of the CT.
    """

    maps: Mapping[str, SaliencyMap]
    volume_affine: NDArray[np.float64]
    overview: CoronalOverview

    def place_affine(self, name: str) -> NDArray[np.float64]:
        """4 x 4: indices (a, b, c) of an evenly spaced map's places to the patient's LPS mm."""
        saliency = self.maps[name]
        steps = [axis[1] - axis[0] if len(axis) > 1 else 1.0 for axis in saliency.centres]
        to_encoder = np.diag([*steps, 1.0])
        to_encoder[:AXES, AXES] = [axis[0] for axis in saliency.centres]
        reversed_axes = np.eye(4)[[2, 1, 0, 3]]
        affine: NDArray[np.float64] = self.volume_affine @ reversed_axes @ saliency.to_source @ to_encoder
        return affine


def saliency_bytes(
    maps: Mapping[str, SaliencyMap], volume_affine: NDArray[np.float64], overview: CoronalOverview
) -> bytes:
    """The file's content; the same arguments give the same bytes."""
    arrays: dict[str, NDArray[np.generic]] = {
        "volume_affine": volume_affine,
        "overview_hu": overview.hu,
        "overview_spacing_mm": np.array(overview.spacing_mm),
    }
    for number, saliency in enumerate(maps.values()):
        arrays |= {
            f"values_{number}": saliency.values.astype(np.float16),
            f"seen_{number}": saliency.seen,
            f"to_source_{number}": saliency.to_source,
            f"shape_{number}": np.array(saliency.shape),
        }
        arrays |= {f"centres_{number}_{axis}": centres for axis, centres in enumerate(saliency.centres)}
    body = next((saliency.body for saliency in maps.values() if saliency.body is not None), None)
    if body is not None:  # one for all maps, which are of one CT
        arrays |= {
            "body": np.packbits(body.inside),
            "body_shape": np.array(body.inside.shape),
            "body_factors": np.array(body.factors),
        }
    names = json.dumps({"format": _FORMAT, "findings": list(maps)}).encode()
    arrays["names"] = np.frombuffer(names, np.uint8)
    with BytesIO() as buffer:
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def read_saliency(content: bytes) -> StoredSaliency:
    """What `saliency_bytes` wrote.

    Raises
    ------
    ValueError, KeyError
        If it is no such file.
    """
    with np.load(BytesIO(content), allow_pickle=False) as arrays:
        table = json.loads(arrays["names"].tobytes())
        if table["format"] != _FORMAT:
            raise ValueError(f"saliency of format {table['format']}, this software reads {_FORMAT}")
        body = _body(arrays) if "body" in arrays else None
        maps = {
            name: SaliencyMap(
                values=arrays[f"values_{number}"].astype(np.float32),
                centres=tuple(arrays[f"centres_{number}_{axis}"] for axis in range(AXES)),
                to_source=arrays[f"to_source_{number}"],
                shape=tuple(int(count) for count in arrays[f"shape_{number}"]),
                seen=arrays[f"seen_{number}"],
                body=body,
            )
            for number, name in enumerate(table["findings"])
        }
        rows_mm, columns_mm = (float(length) for length in arrays["overview_spacing_mm"])
        overview = CoronalOverview(arrays["overview_hu"], (rows_mm, columns_mm))
        return StoredSaliency(maps, arrays["volume_affine"], overview)


def _body(arrays: Mapping[str, NDArray[np.generic]]) -> BodyExtent:
    slices, rows, columns = (int(count) for count in arrays["body_shape"])
    along, down, across = (int(factor) for factor in arrays["body_factors"])
    inside = np.unpackbits(np.asarray(arrays["body"], np.uint8), count=slices * rows * columns)
    shape = tuple(int(count) for count in arrays["shape_0"])
    return BodyExtent(inside.astype(bool).reshape(slices, rows, columns), (along, down, across), shape)
