"""Every sentence that can be recorded in English has its Russian: whoever adds one without is told here."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bundle_import.request import INTENDED_USE
from dicom_node.errors import TextNotFitting
from dicom_node.file_kinds import _ARCHIVES
from dicom_node.sizes import size_in_words
from dicom_node.steps import images_rejected
from inference.acquisitions import _NEARNESS
from inference.calibration import calibration_words
from inference.decision import _by_severity
from inference.densitometry import densitometry
from inference.errors import REMEDIES
from inference.kernels import KernelClass
from inference.lung_coverage import OpenEnd, cut_off_warnings
from inference.lung_crop import DIRECTIONS, Crop, _sentence
from inference.lungs import Lungs, _refusal
from inference.nifti import _KINDS
from inference.study_result import Finding
from models.manifest import CalibrationSpec
from models.manifest_file import read_manifest
from structured_report.language import Words
from structured_report.plural import fill
from structured_report.recorded_sentences import SentencePair, sentence_pairs, words_in_braces
from tests.conftest import PROJECT
from tests.dicom_node.refused_uploads import REFUSED
from tests.inference.synthetic import volume_of
from tests.structured_report.recorded_in_code import SLOT, recorded_templates

RUSSIAN = Words("ru")
CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
FIGURES = re.compile(r"-?\d+(?:\.\d+)?")

TERMINAL_AND_MACHINES = frozenset(
    f"dicom_node/{name}"
    for name in (
        # What a person types commands into.
        "cli.py", "cli_problems.py", "cli_settings.py", "cli_bundle.py", "cli_bundle_import.py",
        "cli_viewer.py", "cli_volume.py", "demo",
        "doctor.py", "serve.py", "scanner.py", "progress.py", "bundle_description.py", "local_orthanc.py",
        "settings.py", "settings_file.py", "secret_file.py", "destination_settings.py",
        # HTTP answers, whose sentences are a contract (api/receive.py makes refusals and is read).
        "api/auth.py", "api/dicomweb.py", "api/errors.py", "api/metrics.py", "api/predict.py",
        "api/session.py", "api/studies.py", "api/viewer.py", "viewer",
        # Pages: their words are in words.toml, their recorded sentences come from elsewhere.
        "web",
    )
)  # fmt: skip
"""Modules whose own sentences nobody records."""

NOT_RECORDED = {
    "HOUNSFIELD UNITS": "a value of a header",
    "BEGIN IMMEDIATE": "SQL",
    f"SELECT pg_advisory_xact_lock({SLOT})": "SQL",
    "PRAGMA journal_mode=WAL": "SQL",
    "DefaultCPUAllocator: can't allocate memory": "what torch says, to be recognised",
    "DefaultCPUAllocator: not enough memory": "what torch says, to be recognised",
    "CUDA error: out of memory": "what torch says, to be recognised",
    "no array in the file": "an exception that becomes a refusal of its own words",
    "another format": "an exception that becomes a refusal of its own words",
    f"import sys; sys.path[:] = {SLOT}; from inference.reading_child import serve; serve()": "a program",
    "the process ended": "an exception within the reading of files",
    "model name": "a line of /proc/cpuinfo",
    f"{SLOT}: expected {SLOT}, got {SLOT}, allowed deviation {SLOT}": "the self-test on a terminal",
    "study probability": "the self-test on a terminal",
    "private, derived from the name": "where a code comes from, for docs",
    "Slice in a CT window, with markers and text of an AI result": "Derivation Description, for machines",
    "Page that says why a study was not evaluated": "Derivation Description, for machines",
    "Page that sums an AI result up": "Derivation Description, for machines",
    "DICOM Study": "a code meaning, translated by its code",
    "Link to the study": "a code meaning, translated by its code",
    "no units": "a code meaning, translated by its code",
    "UNICODE UTF-8": "a character set of HL7",
    "dicom-node project": "a manufacturer",
    "Demonstration networks trained on synthetic images: not for diagnosis.": "HTTP answers",
    "not examined": "a digest that is none",
    "Lung volume": "a quantity, named as findings are",
    "Lung volume, left": "a quantity, named as findings are",
    "Lung volume, right": "a quantity, named as findings are",
    "Mean lung density": "a quantity, named as findings are",
}
"""Texts that no reader is shown, or that are translated by another table; and why."""

LUNGS = Lungs(
    np.ones((12, 24, 24), bool), np.ones((12, 24, 24), bool), (1, 1, 1), (5.0, 5.0, 5.0), 900.0, -850.0
)
VOLUME = volume_of(np.full((12, 24, 24), -850, np.int16), (5.0, 5.0, 5.0))
FOUND = [
    Finding("Lung nodule", 0.3, 0.5, False, 1, {}),
    Finding("Other pathology", 0.9, 0.5, True, 1, {}, umbrella=True),
]
PLATT = CalibrationSpec("platt", 1.2, 0.1, "studies", 201, 0.2, 0.1, 0.1, 0.05)

# Sentences that the code puts together, by their parts; made by the code itself where that is cheap.
COMPOSED: dict[tuple[str, ...], list[str]] = {
    (
        f"The probability is calibrated by Platt scaling{SLOT}{SLOT}.",
        f"The probability is not calibrated{SLOT}: {SLOT}.",
        f"The probability is not calibrated{SLOT}.",
        f": {SLOT}, before it {SLOT}",
        f" (measured on {SLOT} cases: {SLOT})",
    ): [
        calibration_words(CalibrationSpec(method, 1.0, 0.0, cohort, size, *figures))
        for method in ("none", "platt")
        for cohort, size in (("studies", 201), ("", 0))
        for figures in ((0.2, 0.1, 0.1, 0.05), (None, None, None, None))
    ],
    (f" besides {SLOT}, which can be anything",): [_by_severity(FOUND)[1] or ""],
    (
        "A sharp kernel, a low dose and thin slices raise it",
        f"Share of the lungs' voxels below -950 HU (Gevenois et al., AJRCCM 152, 1995). {SLOT}.",
        f"Share of the lungs' voxels below -910 HU (Mueller et al., Chest 94, 1988). {SLOT}.",
    ): [item.method for item in densitometry(VOLUME, LUNGS).measurements],
    (f"at least {SLOT} mm at the {SLOT} end", f"about {SLOT} mm at the {SLOT} end"): [
        *cut_off_warnings([OpenEnd("head", 23.0, False, 0.2), OpenEnd("feet", 40.0, True, 0.6)]),
        "The series does not show a large part of the lungs: about 40 mm at the head end and at least 15 mm"
        " at the feet end.",
    ],
    (f" {SLOT} mm of the lungs do not fit.",): [
        _sentence(Crop(100, 100, 10, 80), 4.5, along, 12.0, left) for along in DIRECTIONS for left in (0, 7)
    ],
    (
        f"The file does not hold one three-dimensional volume of CT numbers, but an array of {SLOT} {SLOT}.",
        "complex numbers",
    ): [
        "The file does not hold one three-dimensional volume of CT numbers, but an array of 3 x 4 x 5 x 6"
        f" {kind}."
        for kind in ("numbers", *_KINDS.values())
    ],
    (
        "nothing that is built like a lung",
        f"only {SLOT} ml of aerated lung over {SLOT} mm",
        f"The series shows {SLOT}: it is not a CT of the chest, or one with hardly any air in the lungs.",
    ): [_refusal(volume, 40.0).sentence for volume in (0.0, 12.0)],
    (f"The upload is larger than {SLOT}.",): ["The upload is larger than 4.29 GB."],
    (f"The volume is larger than {SLOT} unpacked.",): ["The volume is larger than 512 MB unpacked."],
    (f"A file of the archive is larger than {SLOT}.",): ["A file of the archive is larger than 1.5 kB."],
    (f"The archive unpacks to more than {SLOT}.",): [
        f"The archive unpacks to more than {size_in_words(10**power)}." for power in range(0, 15, 3)
    ],
    (f"{SLOT} at {SLOT}:{SLOT} broke off after {SLOT} of {SLOT} objects",): [
        "PACS at 10.0.0.1:104 broke off after 3 of 40 objects"
    ],
    (f"{SLOT} rejected the association{SLOT}",): [
        "PACS at 10.0.0.1:104 rejected the association",
        "PACS at 10.0.0.1:104 rejected the association: Called AE title not recognised",
    ],
    (f"{SLOT}: set destinations.character_set of {SLOT}",): [
        str(TextNotFitting("ISO_IR 100 lacks a character of Name: set destinations.character_set of pacs"))
    ],
    (
        "which is not supported: unpack it, and pack the DICOM files as a ZIP.",
        f"The file is {SLOT}, {SLOT}",
        f"The file is a program (perhaps a self-extracting archive), {SLOT}",
    ): [
        *(
            f"The file is {kind}, which is not supported: unpack it, and pack the DICOM files as a ZIP."
            for _, _, kind in _ARCHIVES
        ),
        "The file is a program (perhaps a self-extracting archive), which is not supported: unpack it, and"
        " pack the DICOM files as a ZIP.",
    ],
}
OF_OTHER_MODULES = {"fault"}
"""Lines of the log whose place is among modules that are not read."""
NAMES = {
    "DICOM",
    "NIfTI",
    "nii",
    "ZIP",
    "RAR",
    "CAB",
    "tar",
    "gzip",
    "tgz",
    "xz",
    "bzip",
    "Zstandard",
    "ISO",
    "Deflate",
    "HTTP",
    "file",
    "Study",
    "Instance",
    "UID",
    "CLIP",
    "MIP",
    "PACS",
    "studies",
    "Called",
    "title",
    "not",
    "recognised",
    "text",
    "fitting",
    "Name",
    "destinations",
    "character",
    "set",
    "pacs",
    "IEEE",
    "Trans",
    "Med",
    "Imaging",
    "multipart",
}
"""Names, and what others said, in the examples."""

REASONS = [
    *re.findall(
        r'"([a-z_]+)",\s*f?"[A-Z]', (PROJECT / "inference" / "image_exclusion.py").read_text(encoding="utf-8")
    ),
    *(code.value for code in _NEARNESS),
]
"""Why a whole series is excluded."""

EXAMPLES = [
    read_manifest(PROJECT / "best_models" / "demo").intended_use,
    calibration_words(read_manifest(PROJECT / "best_models" / "demo").calibration),
    INTENDED_USE,
    *REMEDIES.values(),
    *(item.sentence for item in REFUSED.values() if item.sentence[0].isupper() and item.sentence[-1] == "."),
    *(images_rejected(count).sentence for count in (1, 3, 12, 21)),
    *(f"A {one.words}; a {other.words} was chosen." for one in KernelClass for other in KernelClass),
    *(
        f"The study holds no axial CT series that can be analysed (2 {one}, 1 localizer)."
        for one in (reason.replace("_", " ") for reason in REASONS)
    ),
    "The study holds no axial CT series that can be analysed (no images).",
    "The pixels of 2 slice(s) cannot be decoded and were left out: at z = -12.5 and 40.0 mm.",
    "The probability rests on no single CT-CLIP label: severity names the most dangerous pathology."
    f" {_by_severity(FOUND)[1]}",
    "None of the 3 file(s) is a DICOM image that can be read. 2 of them are archives, which are not opened"
    " (a RAR archive, a part of a split ZIP): unpack them, and pack the DICOM files as one ZIP.",
    *(f"{origin} axial series, lung kernel, 320 slices 1.00 mm apart." for origin in ("Original", "Derived")),
    *(f"failed while {state}" for state in ("fetching", "analysing", "reporting", "storing")),
    *(f"the archive does not have the {level}" for level in ("study", "instance")),
    *(
        f"The archive is compressed with {method}; only Deflate (the usual one) is read."
        for method in ("an unusual method", "bzip2")
    ),
    *(text for texts in COMPOSED.values() for text in texts),
]


def of_code() -> dict[str, list[tuple[frozenset[int], str]]]:
    """Every template of the code, with its numbers and places."""
    found: dict[str, list[tuple[frozenset[int], str]]] = {}
    parts = ("inference", "structured_report", "dicom_node")
    for template in recorded_templates(*parts, without=TERMINAL_AND_MACHINES):
        found.setdefault(template.text, []).append((template.numbers, template.place))
    return found


def of_table() -> dict[str, list[str]]:
    """English sentences of the table as templates, with the kinds of their braces."""
    return {re.sub(r"\{[^}]*\}", SLOT, pair.english): list(pair.kinds.values()) for pair in sentence_pairs()}


def test_every_sentence_of_the_code_has_its_russian() -> None:
    code, table = of_code(), of_table()
    assert len(code) > 250
    known = {*table, *words_in_braces(), *NOT_RECORDED, *(part for parts in COMPOSED for part in parts)}
    missing = {text.replace(SLOT, "{}"): places[0][1] for text, places in code.items() if text not in known}
    assert missing == {}, "give each its Russian in structured_report/recorded_sentences.toml"
    for text in set(code) & set(table):
        for numbers, place in code[text]:
            assert all(table[text][number] == "number" for number in numbers), place


def test_nothing_is_excused_that_the_code_does_not_say() -> None:
    excused = {*NOT_RECORDED, *(part for parts in COMPOSED for part in parts)}
    assert excused - set(of_code()) == set()


def test_no_pair_is_left_over() -> None:
    code = of_code()
    pairs = {re.sub(r"\{[^}]*\}", SLOT, pair.english): pair for pair in sentence_pairs()}
    said = "\n".join(EXAMPLES)
    over = {
        pair.english
        for text, pair in pairs.items()
        if text not in code and not re.search(pair.pattern, said) and text not in OF_OTHER_MODULES
    }
    assert over == set()
    words = {word for word in words_in_braces() if word not in code and word not in said}
    assert words == set()


@pytest.mark.parametrize("sentence", EXAMPLES)
def test_a_sentence_is_russian_throughout_and_keeps_its_figures(sentence: str) -> None:
    told = RUSSIAN.of_analysis(sentence)
    assert told.language == "ru"
    assert CYRILLIC.search(told.text)
    assert not re.search(r"[{}|]", told.text)
    assert sorted(set(FIGURES.findall(sentence))) == sorted(set(FIGURES.findall(told.text)))
    left = set(re.findall(r"[A-Za-z]{3,}", re.sub(r"\(.*\bet al.*\)", "", told.text)))
    assert left <= NAMES, left
    assert Words().of_analysis(sentence).text == sentence


@pytest.mark.parametrize("pair", sentence_pairs(), ids=lambda pair: pair.english)
def test_both_languages_hold_the_same_values(pair: SentencePair) -> None:
    assert set(re.findall(r"\{(\w+)[}|]", pair.russian)) == set(pair.kinds)
    for number in ("1", "3", "25"):
        assert "{" not in fill(pair.russian, dict.fromkeys(pair.kinds, number))


def test_a_sentence_is_not_translated_in_part() -> None:
    for sentence in (
        "At least 9 of 40 slices cannot be decoded (broken stream).",
        "Slices of thin mm; a series of 1 mm was chosen.",
        "The series stops within the lungs: about 5 mm at the far end are missing and were not seen.",
    ):
        assert RUSSIAN.of_analysis(sentence).language == "en"


def test_what_others_said_stays_in_their_words() -> None:
    told = RUSSIAN.of_analysis(
        "HOSPITAL-PACS did not store 3 of 5 objects; first: the peer refused it (status 0xA700)"
    )
    assert told.text == (
        "HOSPITAL-PACS: не сохранено объектов: 3 из 5; первый: получатель отказал (статус 0xA700)"
    )
    told = RUSSIAN.of_analysis("the ledger cannot be read: database or disk is full")
    assert told.text == "журнал исследований не читается: database or disk is full"


def test_a_finding_within_a_sentence_is_named_in_russian() -> None:
    told = RUSSIAN.of_analysis(
        "The study counts as pathological, and no finding reaches its own operating point besides"
        " Other pathology, Pathological finding, which can be anything: Lung nodule came nearest."
    )
    assert "(Другая патология, Патологическая находка)" in told.text
    assert told.text.endswith("ближе всего к нему: Узел в лёгком.")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("0", "0 срезов"), ("1", "1 срез"), ("2", "2 среза"), ("4", "4 среза"), ("5", "5 срезов"),
        ("11", "11 срезов"), ("12", "12 срезов"), ("14", "14 срезов"), ("21", "21 срез"), ("22", "22 среза"),
        ("101", "101 срез"), ("111", "111 срезов"), ("1.5", "1.5 среза"),
    ],
)  # fmt: skip
def test_a_word_takes_the_form_of_its_number(number: str, said: str) -> None:
    assert fill("{count} {count|срез|среза|срезов}", {"count": number}) == said
