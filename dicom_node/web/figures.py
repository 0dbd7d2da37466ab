"""Numbers as people read them: moments, durations, sizes, shortened UIDs."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

from dicom_node.web.words import Words

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UID_ENDS = 10


def moment(when: datetime, zone: tzinfo, words: Words, *, now: datetime) -> str:
    """A moment in the site's time zone: the time alone where it is of the same day."""
    local = when.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return local.strftime("%H:%M:%S")
    return local.strftime(f"{words('time.date')} %H:%M")


def full_moment(when: datetime, zone: tzinfo, words: Words) -> str:
    """A moment with date, seconds and offset."""
    return when.astimezone(zone).strftime(f"{words('time.date')} %H:%M:%S %z")


def duration(span: timedelta, words: Words) -> str:
    """A duration in its two greatest units; below a minute in seconds."""
    seconds = max(int(span.total_seconds()), 0)
    if seconds < _MINUTE:
        return words("time.seconds", count=seconds)
    if seconds < _HOUR:
        return words("time.minutes", count=seconds // _MINUTE)
    if seconds < _DAY:
        return words("time.hours", count=seconds // _HOUR, minutes=seconds % _HOUR // _MINUTE)
    return words("time.days", count=seconds // _DAY, hours=seconds % _DAY // _HOUR)


def size(count: float, words: Words) -> str:
    """Bytes with three digits in decimal units."""
    for unit in ("bytes", "kilobytes", "megabytes", "gigabytes"):
        if count < 1000:
            return words(f"size.{unit}", count=f"{count:.3g}")
        count /= 1000
    return words("size.terabytes", count=f"{count:.4g}")


def short_uid(uid: str) -> str:
    """Both ends of a long UID: what tells two of one installation apart is at its end."""
    if len(uid) <= 2 * _UID_ENDS + 4:
        return uid
    return f"{uid[:_UID_ENDS]}…{uid[-_UID_ENDS:]}"


def grouped(value: float) -> str:
    """A number with one decimal, its thousands apart."""
    return minus(value, ",.1f").replace(",", "\N{NARROW NO-BREAK SPACE}")


def minus(value: float, form: str) -> str:
    """A number with a true minus sign."""
    return format(value, form).replace("-", "\N{MINUS SIGN}")
