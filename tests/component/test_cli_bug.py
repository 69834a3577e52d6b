"""What a bug that ends the process leaves on standard error."""

import pytest

from refresherd.cli import bug

TOKEN = "Zq3-" * 21 + "Zq"


def test_a_bugs_traceback_is_printed_without_its_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody is left to log it, and an error's text may hold what was sent."""
    error = ExceptionGroup("bugs", [ValueError(f"Authorization: Bearer {TOKEN}")])
    bug.message(type(error), error, None)
    message = capsys.readouterr().err
    assert "ValueError: Authorization: Bearer ***" in message
    assert "Zq3" not in message
