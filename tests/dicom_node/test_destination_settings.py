"""Destinations of several kinds in one list."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from dicom_node.destination_settings import DestinationSettings, Hl7DestinationSettings
from dicom_node.settings_file import load_settings

PACS = '[[destinations]]\nname = "pacs"\nhost = "h"\nport = 104\naet = "PACS"\n'
RIS = '[[destinations]]\nkind = "hl7"\nname = "ris"\nhost = "h"\nport = 2575\n'


def _file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "node.toml"
    file.write_text(text)
    return file


def test_one_without_a_kind_is_a_pacs(tmp_path: Path) -> None:
    pacs, ris = load_settings(_file(tmp_path, PACS + RIS)).destinations
    assert isinstance(pacs, DestinationSettings)
    assert isinstance(ris, Hl7DestinationSettings)
    assert not ris.wants_originals


@pytest.mark.parametrize(
    "line",
    [
        'kind = "fax"',
        'aet = "RIS"',
        "forward_originals = true",
        'link = "ftp://host/"',
        'link = "http://h/{name}"',
    ],
)
def test_what_a_kind_does_not_have_is_an_error(tmp_path: Path, line: str) -> None:
    text = RIS.replace('kind = "hl7"', line) if line.startswith("kind") else f"{RIS}{line}\n"
    with pytest.raises(ValidationError):
        load_settings(_file(tmp_path, text))


def test_link_may_name_study_and_accession(tmp_path: Path) -> None:
    link = "https://node.example/viewer?s={study_uid}&a={accession}"
    (ris,) = load_settings(_file(tmp_path, f'{RIS}link = "{link}"\n')).destinations
    assert isinstance(ris, Hl7DestinationSettings)
    assert ris.link == link
