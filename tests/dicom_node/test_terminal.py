"""What strangers write stays text: it commands no terminal and breaks no line of a log."""

from __future__ import annotations

import json
import logging
import threading
import warnings
from io import StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.log import configure
from dicom_node.terminal import printable
from tests.inference.synthetic import ct_series, save

HOSTILE = "\x1b]0;owned\x07\x1b[31m\x9b2J\x7f\u202egpj.\ud800\U000e0001\r"
"""Sets the title, colours, clears the screen (by C1), deletes, turns text around, is half a character."""


@pytest.fixture(autouse=True)
def process_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_DATA_FOLDER", str(tmp_path / "node"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)


def assert_plain(text: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in text), ascii(text)


def test_a_text_stays_readable_and_a_json_text_the_same() -> None:
    assert printable("Иванов é 山田\nnext") == "Иванов é 山田\nnext"
    assert printable("\x1b[31m") == "\\u001b[31m"
    assert_plain(printable(HOSTILE))
    text = json.dumps({"name": HOSTILE, "Иванов": [HOSTILE]}, ensure_ascii=False, indent=2)
    assert_plain(printable(text))
    assert json.loads(printable(text)) == json.loads(text)


def test_a_line_of_the_log_is_one_line() -> None:
    stream = StringIO()
    configure("INFO", stream)
    logging.getLogger("node").warning("%s\n%s", HOSTILE, HOSTILE, extra={"more": HOSTILE})
    (line,) = stream.getvalue().splitlines()
    assert_plain(line)
    assert json.loads(line)["more"] == HOSTILE


def hostile_study(folder: Path, count: int) -> Path:
    """A study with sequences of a terminal in every text of its tags and in the names of its files."""
    texts = {keyword: HOSTILE.replace("\ud800", "").replace("\U000e0001", "") for keyword in (
        "PatientName", "SeriesDescription", "StudyDescription", "InstitutionName", "PatientComments",
        "ConvolutionKernel", "Manufacturer",
    )}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, that such values are against the rules
        paths = save(ct_series(count, SpecificCharacterSet="ISO_IR 192", **texts), folder)
    for number, path in enumerate(paths):
        path.rename(path.with_name(f"\x1b[31m{number}\x9b\u202e.dcm"))
    (folder / "\x1b[2Jletter.txt").write_text("no image")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [["predict", "--details"], ["volume", "--out", "{}/a.nii"], ["volume", "--json", "--out", "{}/a.nii"]],
)
@pytest.mark.parametrize("count", [5, 24])
def test_no_command_passes_on_what_a_stranger_wrote(arguments: list[str], count: int, tmp_path: Path) -> None:
    folder = hostile_study(tmp_path / "\x1b[31mstudy", count)
    places = [folder, next(folder.iterdir()), tmp_path / "\x1b[31mabsent"]
    for place in places:
        result = CliRunner().invoke(app, [*(item.format(tmp_path) for item in arguments), str(place)])
        assert result.exit_code == 1  # a cube of water has no lungs
        assert result.stdout + result.stderr
        assert_plain(result.stdout)
        # The bar moves the cursor itself; it shows stages, never a file's content.
        assert "31m" not in result.stderr.replace("\\u001b[31m", "")
        assert "owned" not in result.output


def test_what_stands_in_place_of_a_uid_is_shown_nowhere(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(ct_series(24, SeriesInstanceUID="1.2\x1b[31mDoe^Jane"), tmp_path / "study")
    result = CliRunner().invoke(
        app, ["volume", "--json", "--out", str(tmp_path / "a.nii"), str(tmp_path / "study")]
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["refusal"]["code"] == "not_dicom"
    assert "Doe" not in result.output
