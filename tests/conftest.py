"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses
from hypothesis import settings

pytest_plugins = ("pytester", "support.not_proven")

# No deadline: how long one example takes says more about the machine than about the code.
# While somebody works: the unit tests are over in seconds.
settings.register_profile("quick", deadline=None, max_examples=20)
# What `tests/run` without arguments, and so CI, asks for.
settings.register_profile("thorough", deadline=None, max_examples=100)
# For nights: `pytest --hypothesis-profile=long --timeout=0 tests/simulations`.
settings.register_profile("long", deadline=None, max_examples=50_000)
settings.load_profile("quick")


class _Response(ClientResponse):
    """aiohttp 3.14 asks for a stream writer that aioresponses 0.7.9 does not pass.

    Its issue #289; to be removed, with the patch below, when upstream mends it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # passed on as they come
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def responses(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answer aiohttp's requests without a network."""
    monkeypatch.setattr("aioresponses.core.ClientResponse", _Response)
    with aioresponses() as answers:
        yield answers


@pytest.fixture
def measured_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the coverage of the Python programs that a test starts, if that of the tests is.

    It slows them down, so it is not for tests of their speed. The coverage package has Python look
    for this variable at every start.
    """
    if "COVERAGE_RUN" in os.environ:
        configuration = Path(__file__).parents[1] / "pyproject.toml"
        monkeypatch.setenv("COVERAGE_PROCESS_START", str(configuration))
