"""The catalogue of words: complete in both languages, and nothing on a page stands outside of it."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

from dicom_node.active_bundle import BundleReplaced
from dicom_node.errors import TextNotFitting
from dicom_node.settings import ReportSettings, WebSettings
from dicom_node.settings_section import ObjectKind
from dicom_node.steps import ImagesChanged
from dicom_node.study_list import GROUPS
from dicom_node.web.words import LANGUAGES, Words, catalogue
from inference.errors import RefusalCode
from tests.conftest import PROJECT

WEB = PROJECT / "dicom_node" / "web"
CODE = {path: path.read_text(encoding="utf-8") for path in [*WEB.rglob("*.py"), *WEB.rglob("*.html")]}
# Names that come from elsewhere, and words that a page puts together (`t("state." ~ state)`).
FROM_ELSEWHERE = {"stage", "refusal", "object"}
PUT_TOGETHER = {"state", "verdict", "viewer"}


def _used() -> set[str]:
    return {
        key
        for text in CODE.values()
        for key in re.findall(r"""["']([a-z_]+\.[a-z_]*[a-z])["']""", text)
        if not key.endswith(".html")
        and key.partition(".")[0] in {name.partition(".")[0] for name in catalogue()}
    }


def _prefixes() -> set[str]:
    """Beginnings of keys whose end is a value: `"study.window_" ~ name`, `f"study.{side}"`."""
    return {
        found
        for text in CODE.values()
        for pair in re.findall(r"""["']([a-z_]+\.[a-z_]*)["'] ~|f["']([a-z_]+\.[a-z_]*)\{""", text)
        for found in pair
        if found
    }


def test_every_key_that_a_page_asks_for_is_there() -> None:
    assert _used() - set(catalogue()) == set()


def test_no_word_is_left_over() -> None:
    # `study.` alone would let everything pass: what it may end in is known.
    ends = {f"study.{end}" for end in ("left", "right", "bilateral", "send", "send_again", "send_now")}
    prefixes = _prefixes() - {"study.", "studies."}
    groups = {f"studies.{group}" for group in GROUPS}
    unused = {
        key
        for key in set(catalogue()) - _used() - ends - groups
        if key.partition(".")[0] not in FROM_ELSEWHERE | PUT_TOGETHER
        and not any(key.startswith(prefix) for prefix in prefixes)
    }
    assert unused == set()


@pytest.mark.parametrize("key", sorted(catalogue()))
def test_languages_say_the_same_values(key: str) -> None:
    entry = catalogue()[key]
    # {count|срез|среза|срезов} says the value `count`.
    names = [
        {name.partition("|")[0] for _, name, _, _ in Formatter().parse(entry[language]) if name}
        for language in LANGUAGES
    ]
    assert names[0] == names[1]
    assert all(entry[language].strip() == entry[language] != "" for language in LANGUAGES)


def test_every_refusal_has_a_title() -> None:
    for code in [*RefusalCode, ImagesChanged.code, BundleReplaced.code]:
        assert Words("en").known("refusal", code) != code


@pytest.mark.parametrize("kind", [*get_args(ObjectKind), "sr-comp", "sr-enh"])
def test_every_kind_of_object_has_words(kind: str) -> None:
    """Of a report in another class too, which a destination got."""
    said = {Words(language).known("object", kind) for language in LANGUAGES}
    assert len(said - {kind}) == len(LANGUAGES)


def test_what_is_recorded_is_said_as_in_the_reports() -> None:
    assert Words("ru").recorded("The file is empty.").text == "Файл пуст."
    assert Words("en").recorded("The file is empty.").text == "The file is empty."
    assert Words("ru").recorded("ValueError at x.py:3").text == "ValueError (x.py:3)"
    assert Words("ru").recorded("Nobody translated this.").language == "en"
    error = TextNotFitting("ISO_IR 100 lacks a character of Name: set destinations.character_set of pacs")
    assert Words("ru").recorded(error).text.startswith("text_not_fitting: в ISO_IR 100 нет символа из Name:")


def test_names_that_nobody_translated_are_shown_as_they_came() -> None:
    words = Words("ru")
    assert words.known("finding", "Pleural effusion") == "Плевральный выпот"
    assert words.known("finding", "{odd} name") == "{odd} name"
    assert words.known("refusal", "of tomorrow") == "of tomorrow"
    with pytest.raises(KeyError):
        words("studies.no_such_key")


def test_templates_hold_no_words_of_their_own() -> None:
    for path in WEB.rglob("*.html"):
        text = CODE[path]
        bare = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<!doctype[^>]*>", " ", text, flags=re.DOTALL)
        bare = re.sub(r"<[^>]*>", " ", bare)
        allowed = {"dicom-node", "torch", "DICOM", "PDF", "CUDA", "nbsp", "s", "lt"}
        left = set(re.findall(r"[A-Za-zА-Яа-я][A-Za-zА-Яа-я-]*", bare)) - allowed
        assert not left, (path.name, left)


def test_language_of_the_pages_is_a_setting_of_its_own() -> None:
    assert WebSettings().language is None
    assert ReportSettings().language in LANGUAGES
    with pytest.raises(ValueError, match="language"):
        WebSettings(language="xx")  # type: ignore[arg-type]


def test_the_licence_of_htmx_is_beside_it() -> None:
    static = WEB / "static"
    assert 'version:"2.0.11"' in (static / "htmx.min.js").read_text(encoding="utf-8")
    assert "Zero-Clause BSD" in (static / "htmx.LICENSE").read_text(encoding="utf-8")


def test_style_and_scripts_name_no_other_host() -> None:
    for path in [*Path(WEB / "static").glob("*.css"), *Path(WEB / "static").glob("[ps]*.js")]:
        assert "http" not in path.read_text(encoding="utf-8"), path.name
