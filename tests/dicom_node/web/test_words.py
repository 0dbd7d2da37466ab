"""The catalogue of words: complete in both languages, and nothing on a page stands outside of it."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from dicom_node.rejection_notes import TITLES
from dicom_node.settings import ReportSettings, WebSettings
from dicom_node.web.words import LANGUAGES, Words, catalogue
from inference.errors import REMEDIES, RefusalCode
from tests.conftest import PROJECT

WEB = PROJECT / "dicom_node" / "web"
CODE = {path: path.read_text(encoding="utf-8") for path in [*WEB.rglob("*.py"), *WEB.rglob("*.html")]}
# Names that come from elsewhere, and words that a page puts together (`t("state." ~ state)`).
FROM_ELSEWHERE = {"finding", "stage", "reason", "refusal", "remedy", "rejection", "measurement", "object"}
PUT_TOGETHER = {"state", "verdict"}


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
    groups = {f"studies.{group}" for group in ("working", "reported", "refused", "failing", "undelivered")}
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
    names = [{name for _, name, _, _ in Formatter().parse(entry[language]) if name} for language in LANGUAGES]
    assert names[0] == names[1]
    assert all(entry[language].strip() == entry[language] != "" for language in LANGUAGES)


def test_every_refusal_has_a_title_and_its_remedy() -> None:
    words = Words("en")
    for code in RefusalCode:
        assert words.known("refusal", code) != code
        assert words.known("remedy", code) == REMEDIES[code]


def test_every_title_of_a_rejection_has_words() -> None:
    for code, sentence in TITLES.items():
        assert Words("en").known("rejection", code) == sentence


def test_every_reason_of_a_series_has_words() -> None:
    sources = [PROJECT / "inference" / name for name in ("image_exclusion.py", "series.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    reasons = set(re.findall(r'"([a-z_]+)",\s*\n?\s*f?"[A-Z]', text))
    assert len(reasons) >= 14
    assert {reason for reason in reasons if f"reason.{reason}" not in catalogue()} == set()


def test_names_that_nobody_translated_are_shown_as_they_came() -> None:
    words = Words("ru")
    assert words.known("finding", "Pleural effusion") == "Плевральный выпот"
    assert words.known("finding", "{odd} name") == "{odd} name"
    assert words.known("remedy", "of tomorrow", otherwise="Do this.") == "Do this."
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
