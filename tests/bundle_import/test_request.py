"""What cannot be imported is refused before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundle_import.errors import ImportCode, ImportRefused
from bundle_import.fusion_model import ConstantRule
from bundle_import.request import ImportRequest, check_request

FILE = Path("x.pt")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, ImportCode.NO_MEMBER),
        ({"unet": FILE}, ImportCode.NO_MEMBER),
        ({"ctclip": FILE}, ImportCode.BAD_OPTION),
        ({"supervised": FILE, "unet": FILE}, ImportCode.BAD_OPTION),
        ({"slice_classifier": FILE, "reconstruction": True}, ImportCode.BAD_OPTION),
        ({"supervised": FILE, "most_dangerous": "original_argmax"}, ImportCode.BAD_OPTION),
        ({"supervised": FILE, "constants": (ConstantRule("a", 0.0, "b"),)}, ImportCode.BAD_OPTION),
        ({"supervised": FILE, "operating_point": 1.0}, ImportCode.BAD_OPTION),
        ({"supervised": FILE, "spacing_mm": (1.5, 0.0, 0.75)}, ImportCode.BAD_OPTION),
        ({"supervised": FILE, "input_shape": (240, -480, 480)}, ImportCode.BAD_OPTION),
        *(
            ({"supervised": FILE, "name": name}, ImportCode.BAD_OPTION)
            for name in ("", "..", "a/b", ".a", "a b")
        ),
        ({"supervised": FILE, "name": "taken"}, ImportCode.NAME_TAKEN),
    ],
)
def test_refusals(tmp_path: Path, changes: dict[str, Any], code: ImportCode) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ImportRefused) as refused:
        check_request(ImportRequest(**{"name": "new", "bundles_folder": tmp_path} | changes))
    assert refused.value.code is code


def test_a_name_that_is_taken_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    check_request(ImportRequest(name="taken", bundles_folder=tmp_path, supervised=FILE, replace=True))
