"""Forms of a word that go with a number: `{count|срез|среза|срезов}` in a template of any language.

Russian has three: of 1, 21, 101; of 2 to 4, 22 to 24 and fractions; of the rest (Unicode CLDR, plural rules).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CHOICE = re.compile(r"\{(\w+)\|([^|{}]*)\|([^|{}]*)\|([^|{}]*)\}")


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with the values in its braces, and the form of each word that goes with its number."""
    chosen = _CHOICE.sub(lambda found: found[2 + _form(str(values[found[1]]))], template)
    return chosen.format(**values)


def _form(number: str) -> int:
    digits = number.lstrip("-+\N{MINUS SIGN}")
    if not digits.isdecimal():
        return 1
    count = int(digits)
    if count % 10 == 1 and count % 100 != 11:
        return 0
    return 1 if 2 <= count % 10 <= 4 and not 12 <= count % 100 <= 14 else 2
