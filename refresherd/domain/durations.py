"""Spans of time as people write and read them: `1m30s`, `5.7 s`.

Patterns are compiled when they are first used: commands that scripts call in loops use none.
"""

import re

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
"""In seconds, the largest first: the order in which a duration has them, each at most once."""

SYNTAX = f"numbers with units ({', '.join(UNITS)}, the largest first)"
"""What to write, for an error."""

_NUMBER = r"[0-9]+(\.[0-9]+)?"
_PARTS = [_NUMBER + unit for unit in UNITS]
PATTERN = "|".join(
    part + "".join(f"({smaller})?" for smaller in _PARTS[index:])
    for index, part in enumerate(_PARTS, 1)
)
"""Matches a whole duration. JSON Schema validators read it as well, so it holds no lookaround."""

_PART = r"([0-9.]+) *([a-z]*)"
_NAMES = {
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("hour", "hours", "hr", "hrs"), "h"),
    **dict.fromkeys(("minute", "minutes", "min", "mins"), "m"),
    **dict.fromkeys(("second", "seconds", "sec", "secs", ""), "s"),
    **dict.fromkeys(("millisecond", "milliseconds", "msec", "msecs"), "ms"),
}
"""What other programs call the units. A number alone is usually meant as seconds."""

_TENTHS_BELOW = 10.0
LONGEST_GUESSED = 40
"""In characters. Longer texts are not typing errors."""


def parse(text: str) -> float:
    """Return a duration in seconds. Raises ValueError, without a text, if it is not one."""
    if re.fullmatch(PATTERN, text) is None:
        raise ValueError
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(_PART, text))


def guess(text: str) -> str:
    """Return the duration that an invalid text probably means, "" if it could mean anything."""
    plain = text.strip().lower().replace(",", ".")
    parts = re.findall(_PART, plain) if plain.isascii() and len(text) <= LONGEST_GUESSED else []
    if not parts or re.sub(_PART, "", plain).strip():
        return ""
    written = [(_NAMES.get(unit, unit), number) for number, unit in parts]
    values = dict(written)
    if len(values) < len(written):
        return ""  # a unit comes twice: nobody knows which one is wrong
    # Other programs accept ".5s" and "5.s".
    meant = "".join(
        re.sub(r"\.$", "", re.sub(r"^\.", "0.", values.pop(unit))) + unit
        for unit in UNITS
        if unit in values
    )
    return meant if not values and re.fullmatch(PATTERN, meant) else ""


def in_seconds(seconds: float) -> str:
    """Return a span with its unit, as precise as people need it: `12 s`, `5.7 s`, `0.25 s`."""
    digits = 0 if seconds >= _TENTHS_BELOW else 1 if seconds >= 1 else 3
    number = f"{seconds:.{digits}f}"
    return f"{number.rstrip('0').rstrip('.') if digits else number} s"


def span(seconds: float) -> str:
    """Return a time as `9s`, `9m 58s`, `2h 05m` or `3d 04h`, rounded down; 0s if it is over."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02d}h"
    if hours:
        return f"{hours}h {minute:02d}m"
    return f"{minutes}m {second:02d}s" if minutes else f"{second}s"


def ago(seconds: float) -> str:
    """Return how long ago something was: `9m 58s ago`, or `just now`."""
    return f"{span(seconds)} ago" if seconds >= 1 else "just now"
