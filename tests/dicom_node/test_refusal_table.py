"""Every code of refusal the whole way, by HTTP and by the command line: status, code, sentence, remedy."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from dicom_node.analysis import StudyAnalyser, load_analyser
from dicom_node.cli import app
from dicom_node.node import Node
from dicom_node.settings import HttpSettings, OrthancSettings, Settings, WorkerSettings
from inference.errors import REMEDIES, RefusalCode
from tests.dicom_node.conftest import next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.refused_uploads import MARK, REFUSED, RefusedUpload
from tests.dicom_node.small_study import write_tiny_bundle

ELSEWHERE = {
    RefusalCode.IMAGES_REJECTED: "test_rejection.py",  # by a note in the archive
    RefusalCode.UNREADABLE_TEXT: "test_api_predict.py",  # where DICOM objects are asked for
}
"""Codes that no plain upload can earn: the test that does."""

JARGON = re.compile(r"Error|Exception|errno|traceback|0x|numpy|pydicom|dtype|ndarray", re.I)


@dataclass
class Desk:
    """A node behind HTTP that is started anew only where other settings are wanted."""

    folder: Path
    analyser: StudyAnalyser
    _limits: tuple[tuple[str, float], ...] | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    url: str = ""
    uploads: Path = Path()

    def with_limits(self, limits: tuple[tuple[str, float], ...]) -> str:
        if limits != self._limits:
            self._stack.close()
            given: dict[str, dict[str, float]] = {"http": {}, "worker": {}}
            for name, value in limits:
                section, _, key = name.partition(".")
                given[section][key] = value
            settings = Settings(
                data_folder=self.folder / f"node {len(list(self.folder.iterdir()))}",
                http=HttpSettings(**given["http"]),
                worker=WorkerSettings(**given["worker"]),
                orthanc=OrthancSettings(url=f"http://127.0.0.1:{next_free_port()}"),
            )
            node = Node(settings, analyser=self.analyser, intake=False)
            node.start()
            self._stack.callback(node.stop)
            self.url = self._stack.enter_context(served(node, next_free_port()))
            self.uploads = node.folder.uploads
            self._limits = limits
        return self.url

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, bundles: Path) -> Iterator[Desk]:
    analyser = load_analyser(WorkerSettings(threads=1), bundles / "demo")
    desk = Desk(tmp_path_factory.mktemp("nodes"), analyser)
    yield desk
    desk.close()


@pytest.fixture(autouse=True)
def process_as_before(tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICOM_NODE_DATA_FOLDER", str(tmp_path / "cli"))
    monkeypatch.setenv("DICOM_NODE_WORKER__BUNDLES_FOLDER", str(bundles))
    monkeypatch.setenv("DICOM_NODE_WORKER__THREADS", "1")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)


def test_every_code_has_an_upload_that_earns_it() -> None:
    assert set(REFUSED) | set(ELSEWHERE) == set(RefusalCode) == set(REMEDIES)
    for name in ELSEWHERE.values():
        assert (Path(__file__).parent / name).exists()


@pytest.mark.parametrize("code", sorted(REFUSED, key=lambda code: (REFUSED[code].limits, code)))
def test_a_caller_of_http_is_told(
    code: RefusalCode, desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = REFUSED[code]
    body = row.body(tmp_path)
    url = desk.with_limits(row.limits)
    parameters = {"details": "true", **({"study_uid": row.study_uid} if row.study_uid else {})}
    with caplog.at_level(logging.DEBUG), row.within():
        answer = httpx.post(
            f"{url}/predict{'_nifti' if row.nifti else ''}",
            files={"file": (f"{MARK}.zip", body)},
            params=parameters,
            timeout=120,
        )
    content = answer.json()
    assert answer.status_code == row.status, content
    assert content["processing_status"] == "Failure"
    code_said, _, sentence = content["error"].partition(": ")
    assert code_said == code
    _assert_words(row, sentence)
    details = content["details"]
    assert (details["code"], details["sentence"]) == (code, sentence)
    assert details["remedy"] == REMEDIES[code]
    if details["series"]:
        assert all(item["reason"] and item["sentence"] for item in details["series"])
    assert list(desk.uploads.iterdir()) == []
    logged = " ".join(str(vars(record)) for record in caplog.records if record.name.startswith("dicom_node"))
    assert MARK not in (answer.text + logged).upper()


@pytest.mark.parametrize("code", sorted(REFUSED))
def test_a_person_at_the_command_line_is_told(
    code: RefusalCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = REFUSED[code]
    for name, value in row.limits:
        monkeypatch.setenv(f"DICOM_NODE_{name.upper().replace('.', '__')}", str(value))
    file = tmp_path / ("volume.nii" if row.nifti else "study.zip")
    file.write_bytes(row.body(tmp_path))
    asked = ["--study-uid", row.study_uid] if row.study_uid else []
    with row.within():
        result = CliRunner().invoke(app, ["predict", "--details", str(file), *asked])
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    code_said, _, sentence = answer["error"].partition(": ")
    assert code_said == code
    _assert_words(row, sentence)
    assert answer["details"]["remedy"] == REMEDIES[code]
    assert all(item["reason"] and item["sentence"] for item in answer["details"]["series"])
    assert list((tmp_path / "cli" / "uploads").iterdir()) == []
    assert MARK not in result.output.upper()


def _assert_words(row: RefusedUpload, sentence: str) -> None:
    assert row.sentence in sentence
    assert sentence.endswith(".")
    assert sentence[0].isupper()
    assert not JARGON.search(sentence), sentence


@pytest.mark.parametrize("code", RefusalCode)
def test_every_remedy_says_what_to_do(code: RefusalCode) -> None:
    assert REMEDIES[code].endswith(".")
    assert len(REMEDIES[code].split()) > 2
    assert not JARGON.search(REMEDIES[code])
