"""Sentences as content items (TEXT), in the report's language or marked as English."""

from __future__ import annotations

from highdicom.sr import CodeContentItem, ContentSequence, RelationshipTypeValues, TextContentItem

from structured_report.codes import concept
from structured_report.language import Words


def comment(text: str) -> TextContentItem:
    """A sentence for the reader (121106, DCM, "Comment")."""
    return TextContentItem(concept("comment"), text, RelationshipTypeValues.CONTAINS)


def comment_of_analysis(text: str, words: Words, *, before: str = "") -> TextContentItem:
    """A sentence that the analysis wrote, for the reader."""
    return worded("comment", text, words, before=before)


def worded(name: str, text: str, words: Words, *, before: str = "") -> TextContentItem:
    """A sentence of the analysis under the concept `name`; one without a translation says that it is English
    (TID 1204)."""
    sentence = words.of_analysis(text)
    item = TextContentItem(concept(name), before + sentence.text, RelationshipTypeValues.CONTAINS)
    if sentence.language != words.language:
        language = CodeContentItem(
            concept("language"), concept(sentence.language), RelationshipTypeValues.HAS_CONCEPT_MOD
        )
        item.ContentSequence = ContentSequence([language])
    return item
