"""Studies as hospitals and strangers send them, the whole way of `POST /predict`, with the real analysis."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, PositronEmissionTomographyImageStorage

import inference.reading_pool
from dicom_node.analysis import load_analyser
from dicom_node.node import Node
from dicom_node.settings import HttpSettings, OrthancSettings, Settings, WorkerSettings
from inference.dicom_files import read_headers
from inference.errors import RefusalCode, VolumeRefusal
from inference.reading_process import ANSWER_TIMEOUT_S
from inference.volume import read_volume
from phantom.cases import Case
from phantom.grid import centred_grid
from phantom.studies import chest_study
from tests.dicom_node.conftest import next_free_port
from tests.dicom_node.http_server import served
from tests.dicom_node.refused_uploads import in_zip
from tests.dicom_node.small_study import write_tiny_bundle
from tests.inference.synthetic import ct_image, ct_series, save
from tests.inference.test_hostile_files import HOSTILE, MEMORY_BYTES

SLICES = 72
ENDS = {"unreadable_pixels", "no_lungs", "no_ct_series", "too_few_slices", "not_dicom", "too_large",
        "missing_slices"}  # fmt: skip
NODE_BYTES = 200 << 20
"""What the node itself may hold for such a study: its volume, lungs, encoder input, and the file received."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("site")
    write_tiny_bundle(folder / "bundles")
    settings = Settings(
        data_folder=folder / "node",
        http=HttpSettings(max_inflation_ratio=5000),
        orthanc=OrthancSettings(url=f"http://127.0.0.1:{next_free_port()}"),
    )
    analyser = load_analyser(WorkerSettings(threads=1), folder / "bundles" / "demo")
    node = Node(settings, analyser=analyser, intake=False)
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="module")
def url(node: Node) -> Iterator[str]:
    with served(node, next_free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def chest() -> list[Dataset]:
    """Both lungs, from the feet up."""
    grid = centred_grid((4.5, 3.2, 3.2), (SLICES, 128, 128))
    images = list(chest_study(Case(3, ()), grid=grid).datasets())
    return sorted(images, key=lambda image: float(image.ImagePositionPatient[2]))


def packed(images: list[Dataset], folder: Path, **more: bytes) -> bytes:
    return in_zip({path.name: path.read_bytes() for path in save(images, folder)} | more)


def post(url: str, body: bytes) -> httpx.Response:
    return httpx.post(
        f"{url}/predict", files={"file": ("a.zip", body)}, params={"details": "true"}, timeout=300
    )


def with_broken(chest: list[Dataset], *indices: int) -> list[Dataset]:
    """Pixels that end too early, and other UIDs, so that no answer of another test is given again."""
    images = deepcopy(chest)
    for image in images:
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = (
            f"{image.SOPInstanceUID}.{len(indices)}"
        )
    for index in indices:
        images[index].PixelData = images[index].PixelData[:1000]
    return images


def test_one_broken_slice_is_a_warning_with_its_place(url: str, chest: list[Dataset], tmp_path: Path) -> None:
    answer = post(url, packed(with_broken(chest, 30), tmp_path))
    assert answer.status_code == 200, answer.text
    place = float(chest[30].ImagePositionPatient[2])
    warnings = " ".join(answer.json()["details"]["warnings"])
    assert f"The pixels of 1 slice(s) cannot be decoded and were left out: at z = {place:.1f} mm." in warnings
    assert "interpolated" in warnings


def test_a_third_broken_slice_is_a_refusal(url: str, chest: list[Dataset], tmp_path: Path) -> None:
    answer = post(url, packed(with_broken(chest, 10, 30, 50), tmp_path))
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"].startswith("unreadable_pixels: At least 3 of 72 slices cannot be decoded")
    assert "lossless" in answer.json()["details"]["remedy"]


def test_a_file_that_is_cut_off_is_counted_among_the_broken(
    url: str, chest: list[Dataset], tmp_path: Path
) -> None:
    """Half of a third of all files is missing, as after a transfer that broke off."""
    paths = save(with_broken(chest, 1, 2)[:], tmp_path)
    members = {path.name: path.read_bytes() for path in paths}
    for path in paths[10:34]:
        members[path.name] = members[path.name][: len(members[path.name]) // 2]
    answer = post(url, in_zip(members))
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("unreadable_pixels: ")


def enhanced(index: int) -> Dataset:
    image = ct_image(index, SOPClassUID=EnhancedCTImageStorage)
    image.SharedFunctionalGroupsSequence = [Dataset()]
    image.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(3)]
    return image


LIES: dict[str, dict[str, Any]] = {
    "frames": {"NumberOfFrames": 10**9},
    "matrix": {"Rows": 65535, "Columns": 65535, "PixelSpacing": [0.01, 0.01]},
    "bits": {"BitsAllocated": 64, "BitsStored": 64},
    "samples": {"SamplesPerPixel": 65535},
}


def lying(kind: str, index: int) -> Dataset:
    image = ct_image(index)
    for keyword, value in LIES[kind].items():
        setattr(image, keyword, value)
    return image


def stranger(kind: str, folder: Path) -> list[bytes]:
    """24 files of one kind, a whole series of them."""
    if kind in HOSTILE:
        images = save(ct_series(24, SpecificCharacterSet="ISO_IR 100"), folder / "whole")
        # Of those that cost much each, some: 2.5 GB of zeros, 40,000 items, 8 MB.
        chosen = images[: {"deflated_bomb": 1, "endless": 3, "large_private": 3}.get(kind, len(images))]
        return [HOSTILE[kind](path.read_bytes()) if path in chosen else path.read_bytes() for path in images]
    if kind == "enhanced":
        images = []
        for index in range(24):
            image = enhanced(index)
            image.NumberOfFrames = 10**9
            images.append(image)
        return [path.read_bytes() for path in save(images, folder / "whole")]
    return [path.read_bytes() for path in save([lying(kind, index) for index in range(24)], folder / "whole")]


@pytest.mark.parametrize("kind", [*HOSTILE, *LIES, "enhanced"])
def test_a_strangers_study_ends_in_words_and_bounded_memory(
    kind: str, node: Node, url: str, tmp_path: Path
) -> None:
    inference.reading_pool.READERS.close()
    files = stranger(kind, tmp_path)
    body = in_zip({f"{index}": data for index, data in enumerate(files)})
    tracemalloc.start()
    try:
        answer = post(url, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code in {413, 422}, answer.text
    code, _, sentence = answer.json()["error"].partition(": ")
    assert code in ENDS, answer.text
    assert sentence.endswith(".")
    assert peak < NODE_BYTES + 3 * len(body)
    for process in inference.reading_pool.READERS._idle:
        assert process._process is not None
        status = Path(f"/proc/{process._process.pid}/status").read_text()
        held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert held * 1024 < (MEMORY_BYTES if kind != "deflated_bomb" else 3 * MEMORY_BYTES)
    assert list(node.folder.uploads.iterdir()) == []
    assert httpx.get(f"{url}/health").json() == {"status": "healthy"}


def test_a_hostile_file_of_a_good_study_costs_nothing_but_itself(
    url: str, chest: list[Dataset], tmp_path: Path
) -> None:
    """It names the same study and patient, as one that was damaged on its way."""
    same = {keyword: chest[0].get(keyword) for keyword in ("StudyInstanceUID", "PatientID")}
    (plain,) = save([ct_image(0, **same)], tmp_path / "plain")
    members = {path.name: path.read_bytes() for path in save(chest, tmp_path / "chest")}
    expected = post(url, in_zip(members))
    assert expected.status_code == 200, expected.text
    for kind, change in HOSTILE.items():
        if kind == "deflated_bomb":
            continue
        answer = post(url, in_zip({**members, "hostile": change(plain.read_bytes())}))
        assert answer.status_code == 200, (kind, answer.text)
        assert answer.json()["series_uid"] == expected.json()["series_uid"]
        assert answer.json()["probability_of_pathology"] == expected.json()["probability_of_pathology"]


def test_every_series_that_is_not_chosen_has_its_reason(
    node: Node, url: str, chest: list[Dataset], tmp_path: Path
) -> None:
    """A trauma study: scouts, MPR, MIP, PET, dose screen, head, wide steps, and what is too short."""
    study = {keyword: chest[0].get(keyword) for keyword in ("StudyInstanceUID", "PatientID")}
    others: dict[str, tuple[int, dict[str, Any]]] = {
        "localizer": (2, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
        "derived": (60, {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
        "not_axial": (60, {"ImageType": ["DERIVED", "SECONDARY", "MPR"],
                           "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}),
        "projection": (40, {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}),
        "not_ct": (40, {"Modality": "PT", "SOPClassUID": PositronEmissionTomographyImageStorage}),
        "dose_screen": (1, {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}),
        "other_body_part": (60, {"BodyPartExamined": "HEAD", "SeriesDescription": "HEAD 2.5"}),
        "too_few_slices": (12, {}),
        "partial_coverage": (30, {}),
        "colour": (3, {"SamplesPerPixel": 3}),
        "not_hounsfield": (40, {"RescaleType": "Z_EFF"}),
        "sparse": (40, {"step_mm": 10.0, "PixelSpacing": [30.0, 25.0]}),  # of a chest's field
    }  # fmt: skip
    images = deepcopy(chest)
    for number, (count, tags) in enumerate(others.values(), 10):
        # Of the kernel of the chest, so that it is not by that that it is put behind.
        more = {"ConvolutionKernel": chest[0].ConvolutionKernel, "series": str(number), **study, **tags}
        images += ct_series(count, **{"step_mm": 5.0, **more}, SeriesNumber=number)
    answer = post(url, packed(images, tmp_path))
    assert answer.status_code == 200, answer.text
    chosen_uid = str(chest[0].SeriesInstanceUID)
    for series in (
        answer.json()["details"]["series"],
        httpx.get(f"{url}/studies/{answer.json()['study_uid']}").json()["series"],
    ):
        assert len(series) == len(others) + 1
        assert [item["series_uid"] for item in series if item["chosen"]] == [chosen_uid]
        by_number = {int(item["series_uid"].rsplit(".", 1)[1]): item for item in series if not item["chosen"]}
        found = {name: by_number[number]["reason"] for number, name in enumerate(others, 10)}
        assert found == {name: name for name in others}
        assert all(item["sentence"].endswith(".") for item in series)
    key = httpx.get(f"{url}/studies/{answer.json()['study_uid']}").json()["key"]
    assert len(node.ledger.plan(key).decisions) == len(others) + 1


class SlowClock:
    """Every look at it costs a second: a file takes a few of them, and never as much as one file may."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1
        return self.now_s


def test_many_slow_instances_are_a_study_that_is_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = save(ct_series(60), tmp_path / "slow")
    clock = SlowClock()
    monkeypatch.setattr("inference.reading_process.time", clock)
    assert len(read_headers(paths).headers) == 60
    needed = clock.now_s
    assert needed / len(paths) < ANSWER_TIMEOUT_S / 4
    with pytest.raises(VolumeRefusal) as caught:
        read_headers(paths, clock.now_s + needed / 2)
    assert caught.value.code is RefusalCode.READING_TOO_SLOW
    needed = clock.now_s
    assert len(read_volume(paths).voxels_hu) == 60
    needed = clock.now_s - needed
    with pytest.raises(VolumeRefusal) as caught:
        read_volume(paths, deadline=clock.now_s + 0.75 * needed)
    assert caught.value.code is RefusalCode.READING_TOO_SLOW
    assert len(read_headers(paths).headers) == 60  # the next study has its own time
