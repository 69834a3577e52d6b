"""Text from elsewhere, made fit for a line on a terminal."""

LONGEST = 400


def one_line(text: str) -> str:
    """Return a text without what a terminal would obey, and not longer than anybody reads."""
    safe = "".join(letter if letter.isprintable() else " " for letter in text[: LONGEST + 1])
    words = " ".join(safe.split())
    return words if len(text) <= LONGEST else f"{words[:LONGEST]}..."
