"""Whether the words of a header name a projection or rendering instead of slices.

Image Type (0008,0008) should say so and its values are the vendors' own; often the series' description alone
does.
"""

from __future__ import annotations

import re

_PROJECTION = re.compile(
    r"\b((MAX|MIN|MN|M) ?IPS?|RAY ?SUM|PROJECTION|VRT|SSD|VOLREND?|(VOLUME|SURFACE) RENDER"
    r"|RENDERINGS?|RENDERED|CPR|CURVED|МИП)\b"
)


def words(text: str) -> str:
    """A text's words in capitals, one space between them; digits and signs part words."""
    return re.sub(r"[\W\d_]+", " ", text.upper()).strip()


def names_projection(text: str) -> bool:
    """Whether a text names a maximum or minimum intensity projection, a rendering or a curved reformat."""
    return bool(_PROJECTION.search(words(text)))
