"""Fixtures that several test files share."""

from collections.abc import Iterator
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
