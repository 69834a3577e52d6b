"""Messages for text that is not valid TOML, without the terms of its grammar."""

import re

PLACE = re.compile(r" \(at (?:line (?P<line>[0-9]+), column (?P<column>[0-9]+)|end of document)\)$")

EXPECTED_QUOTES = re.compile('Expected "(\'+)"')

UNCLOSED = "a string is missing its closing quotes"
ESCAPE = "invalid escape; write text with backslashes in 'single quotes'"
OPEN_LIST = "a list or an inline table is missing a comma or its closing bracket"

HINTS = (
    ("Cannot overwrite a value", "this key is already set; delete one of the two"),
    ("Cannot declare", "this table is already defined; merge the two"),
    ("Cannot redefine", "this table is already defined; merge the two"),
    ("Cannot mutate", "this name already has a value; delete one of the two"),
    ("Duplicate inline table key", "this key is already set; delete one of the two"),
    ("Invalid value (at end of document)", "a value or a closing bracket is missing"),
    ("Invalid value", 'this is not a value; write strings in quotes, such as "20s"'),
    (
        "Expected newline or end of document",
        'unexpected text after a value; write strings, modes and durations in quotes: "0600"',
    ),
    ("Expected '='", "a key needs = and a value"),
    ("Expected ']", "a table header is missing its closing bracket"),
    ("Invalid statement", "this is neither a key nor a table header; comments begin with #"),
    ("Invalid initial character for a key part", "a key is missing, or needs quotes"),
    ("Unterminated string", UNCLOSED),
    ("Expected \"'", UNCLOSED),
    ("Illegal character '\\n'", UNCLOSED),
    ("Illegal character '\\r'", UNCLOSED),
    ("Found invalid character '\\n'", UNCLOSED),
    ("Found invalid character '\\r'", UNCLOSED),
    ("Illegal character", "control characters are not allowed; delete this one"),
    ("Found invalid character", "control characters are not allowed; delete this one"),
    ("Unclosed", OPEN_LIST),
    ("Unescaped", ESCAPE),
    ("Invalid hex value", ESCAPE),
    ("Escaped character", ESCAPE),
    ("Invalid date or datetime", "there is no such date; write strings in quotes"),
)
"""How tomllib's messages begin, and what to say instead."""

LOOK_ALIKES = (
    (
        "\u201c\u201d\u201e\u201f\xab\xbb\u2018\u2019\u201a\u201b\xb4`",
        "this is not a plain quotation mark; write \" or '",
    ),
    (":", "keys and values are joined by =, not by a colon"),
    (
        "\u00a0\u1680\u2007\u202f\u3000\u200b\u2060\ufeff",
        "an unusual blank; delete it, or type a space",
    ),
    ("\r", "a line ends with a carriage return alone; save the file with Unix line ends"),
)
"""Characters that are easily mistaken for valid ones, and what to say of them."""


def explain(text: str, message: str) -> tuple[int, str, str]:
    """Return the line of a tomllib error, the place in words, and what is wrong there."""
    hint = next((hint for start, hint in HINTS if message.startswith(start)), "unreadable here")
    place = PLACE.search(message)
    if place is None or not place["line"]:
        # A string that never ends is the last one that begins with such quotes.
        quotes = EXPECTED_QUOTES.match(message)
        opened = text.rfind(quotes[1] if quotes else '"""') if hint == UNCLOSED else -1
        if opened >= 0:
            return text.count("\n", 0, opened) + 1, "from here on", hint
        return text.rstrip().count("\n") + 1, "at the end of the file", hint
    line, column = int(place["line"]), int(place["column"])
    at = text.split("\n")[line - 1][column - 1 : column]
    if hint != UNCLOSED:
        hint = next((cure for wrong, cure in LOOK_ALIKES if at and at in wrong), hint)
    return line, f"at column {column}", hint
