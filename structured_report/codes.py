"""Coded concepts of the report; the data file `codes.toml` names each code's source and how well it fits."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.coding import Code

from structured_report.language import short

Match = Literal["exact", "approximate", "none"]
Window = Literal["lung", "mediastinum"]

CODE_MEANING_LENGTH = 64  # (0008,0104) is LO
CODING_SCHEME_LENGTH = 16  # (0008,0102) is SH


@dataclass(frozen=True)
class FindingCode:
    """How a finding is coded.

    `name` is the finding's name in the bundle, `code` what the report writes for it, `match` how well the two
    agree, `source` where the code comes from, `site` the anatomy it sits in (None if unknown), `sided` if a
    side is told of it, and `window` the CT window that shows it.
    """

    name: str
    code: Code
    match: Match
    source: str
    site: Code | None
    sided: bool
    window: Window


@dataclass(frozen=True)
class QuantityCode:
    """How a quantity is coded: its name, how it is obtained, and what statistic it is; None where unknown.

    `group` is the kind of quantities that it is shown with (a sentence of `languages.toml`).
    """

    code: Code
    method: Code | None = None
    derivation: Code | None = None
    group: str = "quantities"


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(
        resources.files("structured_report").joinpath("codes.toml").read_text(encoding="utf-8")
    )


@cache
def finding_codes() -> dict[str, FindingCode]:
    """Every finding of the data file, by name."""
    table = _table()
    sites = {key: Code(*value) for key, value in table["sites"].items()}
    return {
        name: FindingCode(
            name,
            Code(*item["code"]) if "code" in item else private_code(name),
            item["match"],
            item["source"],
            sites[item["site"]],
            item["site"] in table["sided"]["sites"],
            item["window"],
        )
        for item in table["findings"]
        for name in item["names"]
    }


def finding_code(name: str) -> FindingCode:
    """The coding of a finding; a name outside the data file gets a private code derived from the name."""
    known = finding_codes().get(name)
    return known or FindingCode(
        name,
        private_code(name),
        "none",
        "private, derived from the name",
        site=None,
        sided=True,
        window="lung",
    )


@cache
def quantity_code(name: str) -> QuantityCode:
    """The coding of a quantity; a name outside the data file gets a private code derived from the name."""
    for item in _table()["quantities"]:
        if item["name"] == name:
            derivation = item.get("derivation")
            return QuantityCode(
                Code(*item["code"]),
                Code(*item["method"]),
                Code(*derivation) if derivation else None,
                item["group"],
            )
    return QuantityCode(private_code(name))


def unit_code(unit: str) -> CodedConcept:
    """A UCUM unit; its own symbol is its meaning where the data file has none."""
    return CodedConcept(*_table()["units"].get(unit, (unit, "UCUM", unit)))


def private_code(name: str) -> Code:
    """A code of the private scheme that depends on `name` alone, so that two installations agree on it."""
    value = "N" + hashlib.sha256(name.encode("utf-8")).hexdigest()[:15]  # SH: 16 characters
    return Code(value, private_scheme_designator(), code_meaning(name))


def code_meaning(name: str) -> str:
    """A name as CodeMeaning (0008,0104): short enough, and one value, which a backslash would make two of."""
    return short(name.replace("\\", "/"))


def concept(key: str) -> CodedConcept:
    """A concept of the report itself, by its key in the data file."""
    return CodedConcept(*_table()["concepts"][key])


def laterality_code(side: str) -> CodedConcept:
    """`left`, `right` or `bilateral` (PS3.16 CID 244)."""
    return CodedConcept(*_table()["lateralities"][side])


def private_scheme_designator() -> str:
    """Designator of the private scheme; 99 in front marks a private one (PS3.16 section 8.2)."""
    return str(_table()["private_scheme"]["designator"])


def private_scheme() -> CodingSchemeIdentificationItem:
    """The item of CodingSchemeIdentificationSequence that declares the private codes (PS3.3 C.12.1.1.1)."""
    scheme = _table()["private_scheme"]
    return CodingSchemeIdentificationItem(
        designator=scheme["designator"],
        name=scheme["name"],
        responsible_organization=scheme["responsible_organization"],
    )
