"""Why an import is refused: one tree, with a stable word for each reason.

ImportRefused
"""

from __future__ import annotations

from enum import StrEnum


class ImportCode(StrEnum):
    """Stable words for why nothing was imported."""

    NO_SUCH_FILE = "no_such_file"
    NOT_A_FILE = "not_a_file"
    EMPTY_FILE = "empty_file"
    TRUNCATED = "truncated"
    NOT_A_CHECKPOINT = "not_a_checkpoint"
    NEEDS_PICKLE = "needs_pickle"
    UNKNOWN_LAYOUT = "unknown_layout"
    WRONG_LAYOUT = "wrong_layout"
    MISSING_TENSORS = "missing_tensors"
    SIZES_UNKNOWN = "sizes_unknown"
    NO_MEMBER = "no_member"
    TOKENIZER_INCOMPLETE = "tokenizer_incomplete"
    TOKENIZER_DOES_NOT_FIT = "tokenizer_does_not_fit"
    BAD_LABELS = "bad_labels"
    BAD_OPTION = "bad_option"
    NOT_A_FUSION_MODEL = "not_a_fusion_model"
    FUSION_COLUMNS = "fusion_columns"
    NAME_TAKEN = "name_taken"
    CANNOT_WRITE = "cannot_write"
    INVALID_BUNDLE = "invalid_bundle"


class ImportRefused(Exception):  # noqa: N818 - a refusal is an answer about the files, not a fault of the program
    """Nothing was imported and nothing was left behind: a stable code, and a sentence with what to do."""

    def __init__(self, code: ImportCode, message: str) -> None:
        super().__init__(f"{code.value}: {message}")
        self.code = code
        self.message = message
