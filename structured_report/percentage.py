"""Probabilities as percentages that stay on their side of the operating point."""

from __future__ import annotations

_MOST_DECIMALS = 6


def percentage(probability: float, operating_point: float, *, decimals: int = 1) -> str:
    """`probability` (0 to 1) in percent, without the sign, with at least `decimals` decimals.

    More of them where rounding would lift an absent finding to its operating point: a reader must not see
    "50.0 %, absent at operating point 50.0 %".
    """
    for number in range(decimals, _MOST_DECIMALS):
        text = f"{100.0 * probability:.{number}f}"
        if probability >= operating_point or float(text) < 100.0 * operating_point:
            return text
    return f"{100.0 * probability:.{_MOST_DECIMALS}f}"
