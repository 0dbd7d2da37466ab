"""What a report says by itself can be written in the character set of its language's alphabet."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import resources

import numpy as np
import pytest

from inference.densitometry import densitometry
from inference.lungs import Lungs
from structured_report.language import Language, Words
from tests.inference.synthetic import volume_of

CYRILLIC = "iso8859_5"  # ISO_IR 144


def _texts(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for part in node.values() if isinstance(node, dict) else node:
            yield from _texts(part)


@pytest.mark.parametrize("name", ["languages.toml", "recorded_sentences.toml"])
def test_every_word_of_a_report_fits_the_cyrillic_set(name: str) -> None:
    table = tomllib.loads(resources.files("structured_report").joinpath(name).read_text("utf-8"))
    texts = list(_texts(table))
    assert len(texts) > 250
    assert [text for text in texts if text.encode(CYRILLIC, "ignore").decode(CYRILLIC) != text] == []


@pytest.mark.parametrize(("language", "codec"), [("en", "ascii"), ("ru", CYRILLIC)])
def test_every_method_of_a_measurement_fits(language: Language, codec: str) -> None:
    voxels = np.full((6, 8, 8), 20, np.int16)
    left, right = np.zeros((2, *voxels.shape), bool)
    left[1:5, 1:7, 1:3] = right[1:5, 1:7, 5:7] = True
    voxels[left | right] = -920
    lungs = Lungs(left, right, (1, 1, 1), (1.0, 1.0, 1.0), 0.1, -920.0)
    measured = densitometry(volume_of(voxels, (1.0, 1.0, 1.0)), lungs).measurements
    words = Words(language)
    for item in measured:
        assert words.of_analysis(item.method).text.encode(codec)
