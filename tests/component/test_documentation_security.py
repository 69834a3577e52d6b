"""The figures of the pages on security and on the API are the program's, and their tests exist."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import pytest

from refresherd.adapters.api.requests import MAX_WAIT, REFRESH_WAIT, TOKEN_WAIT
from refresherd.adapters.logs.observer import BURST, LINES_PER_SECOND, REPEAT_SECONDS
from refresherd.adapters.outputs.sockets import SEND_SECONDS
from refresherd.adapters.web.gate import PATIENCE_SECONDS as PASSWORD_PATIENCE
from refresherd.adapters.web.listener import UNSENT_BYTES
from refresherd.adapters.web.pages import READINESS_RESTS
from refresherd.adapters.web.passwords import REST_TIMES
from refresherd.domain.access import OVERFLOW_ID
from refresherd.domain.connection_quota import DEFAULT_QUOTA, quota_for
from refresherd.domain.refresh_allowance import AT_ONCE, SHARE
from refresherd.domain.timing import LATEST_RENEWAL
from refresherd.host.acceptor import BACKLOG
from refresherd.host.access_lookup import FRESH_SECONDS, MAX_THREADS, PATIENCE_SECONDS
from refresherd.host.control_groups import Bounds
from refresherd.host.dialogue import LINGER_BYTES
from refresherd.host.http.requests import (
    MAX_BODY,
    MAX_BYTES,
    MAX_FIELDS,
    MAX_HEAD,
    MAX_TARGET,
    TOO_LARGE,
    TOO_MANY_FIELDS,
)
from refresherd.host.http.server import DEFAULT_TIMES
from refresherd.host.listener import REFUSED_CONNECTIONS, REFUSED_SECONDS
from refresherd.host.shared_rendering import MAX_REST_SECONDS, MAX_SHARED_SECONDS, SHARED_TIMES
from refresherd.host.stream import LINGER_SECONDS, READ_BYTES
from support.documentation import CHECKOUT, prose, rows

SECURITY, API = CHECKOUT / "docs" / "security.md", CHECKOUT / "docs" / "api.md"

KIB, MIB = 1024, 1024 * 1024

UNIT = (CHECKOUT / "systemd" / "refresherd.service").read_text()

HELD_BYTES = 4 * READ_BYTES
"""What a connection takes of the process: test_api_jams.py measures that, and test_tls_stream.py
that it is not more than twice that with TLS."""

PLACES, SHARE_OF_USER = DEFAULT_QUOTA.rank_connections, DEFAULT_QUOTA.user_connections
PER_SECOND, AT_ONCE_TOO = DEFAULT_QUOTA.arrivals_per_second, DEFAULT_QUOTA.arrivals_at_once

FULL_QUOTA = next(
    files for files in range(PLACES, 100 * PLACES) if quota_for(files) == DEFAULT_QUOTA
)
"""Open files from which on the quota does not shrink."""

FRACTIONS = {"half": 1 / 2, "quarter": 1 / 4, "fifth": 1 / 5, "tenth": 1 / 10}

NUMBER = re.compile(
    rf"(?<![\w.])\d+(?:,\d\d\d)*(?:\.\d+)?(?!\w)|\b(?:{'|'.join(FRACTIONS)})(?![\w-])"
)


def value(figure: str) -> float:
    """Return a figure as a number."""
    return FRACTIONS.get(figure) or float(figure.replace(",", ""))


def set_in_unit(assignment: str) -> int:
    """Return the number that follows this in the service's unit."""
    (number,) = re.findall(rf"^{assignment}(\d+)$", UNIT, re.MULTILINE)
    return int(number)


REQUEST_LIMITS = (MAX_TARGET, MAX_HEAD, MAX_FIELDS, MAX_BODY, MAX_BYTES)
TOO_LONG = (HTTPStatus.REQUEST_URI_TOO_LONG, TOO_MANY_FIELDS[0], TOO_LARGE[0])

AT_MOST: Mapping[str, tuple[float, ...]] = {
    "open connections": (SHARE_OF_USER, 1 / 4),
    "open connections of all users together": (PLACES, PLACES),
    "the daemon's open files": (1 / 2, set_in_unit("LimitNOFILE="), FULL_QUOTA, 1 / 2),
    "new connections": (
        *(PER_SECOND, AT_ONCE_TOO, REFUSED_CONNECTIONS),
        *(HTTPStatus.SERVICE_UNAVAILABLE, REFUSED_SECONDS),
    ),
    "time for sending a request": (DEFAULT_TIMES.request, HTTPStatus.REQUEST_TIMEOUT),
    "time for reading an answer": (DEFAULT_TIMES.answer, SEND_SECONDS),
    "time after the last answer": (LINGER_SECONDS, LINGER_BYTES / MIB),
    "time that a request waits for a token": (MAX_WAIT, HTTPStatus.SERVICE_UNAVAILABLE),
    "a request": (*REQUEST_LIMITS, *TOO_LONG),
    "the daemon's memory for a connection": (
        *(HELD_BYTES / KIB, 2 * HELD_BYTES / KIB, READ_BYTES / KIB, 2 * READ_BYTES / KIB),
        *(HELD_BYTES * SHARE_OF_USER / MIB, HELD_BYTES * PLACES / MIB),
    ),
    "the kernel's memory for a connection": (UNSENT_BYTES / KIB,),
    "renewals of a token before its time": (
        *(AT_ONCE, SHARE, LATEST_RENEWAL / 3600, LATEST_RENEWAL / 3600),
        *(HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE),
    ),
    "processor time for making the readiness of all apps": (
        *(1 / (1 + READINESS_RESTS), READINESS_RESTS, MAX_REST_SECONDS),
    ),
    "processor time for making the status of all apps, or metrics": (
        *(1 / SHARED_TIMES, SHARED_TIMES, MAX_SHARED_SECONDS),
    ),
    "TLS handshakes": (1, DEFAULT_TIMES.request),
    "checks of passwords on the HTTP listener": (
        *(1, REST_TIMES, 1 / (1 + REST_TIMES)),
        *(HTTPStatus.SERVICE_UNAVAILABLE, PASSWORD_PATIENCE),
    ),
    "look-ups of the names in `access`": (
        *(1, FRESH_SECONDS, MAX_THREADS),
        *(HTTPStatus.SERVICE_UNAVAILABLE, PATIENCE_SECONDS),
    ),
    "look-ups of a connection's unit": (
        *(1, FRESH_SECONDS, 1, Bounds().groups, Bounds().seconds),
        *(HTTPStatus.SERVICE_UNAVAILABLE, PATIENCE_SECONDS),
    ),
    "lines in the log": (1, REPEAT_SECONDS, LINES_PER_SECOND, BURST),
}
"""The figures in each row of the page on security, in order."""

ELSEWHERE: Mapping[str, list[str]] = {
    "Who gets a token": [str(OVERFLOW_ID), str(OVERFLOW_ID), "503", "403", "0666"],
    "Give a token to another user": ["0700"],
    "Who may change what the daemon trusts": ["002", "0000"],
    "What remains": [f"{PLACES // SHARE_OF_USER}", "6.5"],
    "Connecting in a tight loop": [f"{BACKLOG:,}", f"{set_in_unit('Nice=-')}"],
}
"""The numbers that the rest of the page has, by heading. Modes and versions are examples."""

API_LIMITS: Mapping[str, tuple[float, ...]] = {
    "a target of 2,048 bytes": (MAX_TARGET, TOO_LONG[0]),
    "a head of 8,192 bytes and 64 fields": (MAX_HEAD, MAX_FIELDS, TOO_MANY_FIELDS[0]),
    "a body of 8,192 bytes, which is read and ignored, and never decompressed": (
        *(MAX_BODY, TOO_LARGE[0]),
    ),
    "30 seconds for a whole request, from the connection or the last answer on": (
        *(DEFAULT_TIMES.request, HTTPStatus.REQUEST_TIMEOUT),
    ),
    "30 seconds for reading an answer": (DEFAULT_TIMES.answer,),
    "no expectation but `100-continue`, no transfer coding but `chunked`": (
        *(HTTPStatus.CONTINUE, HTTPStatus.EXPECTATION_FAILED, HTTPStatus.NOT_IMPLEMENTED),
    ),
    "root": (PLACES,),
    "the daemon's user": (PLACES,),
    "all others together": (PLACES,),
    "each of the others": (SHARE_OF_USER, PER_SECOND, AT_ONCE_TOO),
}
"""The same for the limits of the API."""

API_PARAMETERS: Mapping[str, tuple[float, ...]] = {
    "`wait=SECONDS`": (MAX_WAIT, 0, TOKEN_WAIT),
    "`watch=1`": (1,),
    "`GET /v1/apps/APP/token?watch=1`": (1,),
}

TEST = re.compile(r"`(test_\w+)`")
FILE = re.compile(r"\[`(\w+\.py)`\]\(\.\./(tests/[\w/]+\.py)\)")


def figures(text: str) -> list[str]:
    """Return the numbers of a text as it spells them, and fractions, without targets of links."""
    return NUMBER.findall(re.sub(r"\]\([^)]*\)", "]", text))


def of_rows(page: Path, heading: str) -> dict[str, tuple[float, ...]]:
    """Return the figures of each row of a section that has any, by the row's first cell."""
    found = {row[0]: (*map(value, figures(" | ".join(row))),) for row in rows(page, heading)}
    return {first: numbers for first, numbers in found.items() if numbers}


def of_sections(page: Path) -> dict[str, list[str]]:
    """Return the numbers of each section's text that has any outside its tables, by its heading."""
    found = {}
    for section in re.split(r"^#+ ", prose(page), flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        found[heading] = figures(re.sub(r"^\|.*\n", "", text, flags=re.MULTILINE))
    return {heading: numbers for heading, numbers in found.items() if numbers}


def test_a_number_is_found_however_it_is_written() -> None:
    """A number that is overlooked would not be compared."""
    text = "4,096 in 0.25 s, `Nice=-10`, USR1, a tenth; [503](x#1), mode 0600, 30 s, IPv6, 64."
    found = ["4,096", "0.25", "10", "tenth", "503", "0600", "30", "64"]
    assert figures(text) == found
    assert [*map(value, found)] == [4096, 0.25, 10, 0.1, 503, 600, 30, 64]


def test_what_a_local_user_can_cause_is_what_the_program_allows() -> None:
    """An administrator decides by these figures who may log in to the host."""
    heading = "What a local user can at most cause"
    assert of_rows(SECURITY, heading) == AT_MOST
    small = quota_for(FULL_QUOTA // 100)
    assert small.user_connections == small.rank_connections // 4


def test_the_rest_of_the_page_has_no_other_numbers() -> None:
    """A figure that nobody compares is soon wrong."""
    assert of_sections(SECURITY) == ELSEWHERE
    assert of_rows(SECURITY, "What is protected, and how") == {
        "a client that sends large or compressed bodies": (MAX_BODY / KIB,)
    }
    tables = ("Who may do what", "Who may change what the daemon trusts", "Out of scope")
    for heading in (*tables, "How each claim is tested"):
        for row in rows(SECURITY, heading):
            assert not figures(" ".join(row)), row


def test_the_api_has_the_limits_of_its_page() -> None:
    """Authors of clients rely on them."""
    assert of_rows(API, "Limits") == API_LIMITS
    assert of_rows(API, "Requests") == API_PARAMETERS
    found = of_sections(API)
    assert found["Requests"] == [f"{REFRESH_WAIT:.0f}", "tenth", "429", "503"]
    assert FRACTIONS["tenth"] == SHARE
    assert "three times in a row" in prose(API).replace("\n", " ")
    assert AT_ONCE == 3
    assert found["Limits"] == ["1.0", "1.1", f"{FULL_QUOTA:,}", "half", "503"]


@pytest.mark.parametrize("row", rows(SECURITY, "How each claim is tested"), ids=lambda row: row[0])
def test_each_claim_has_tests_that_exist(row: list[str]) -> None:
    """A claim without a test is a wish."""
    _, cell = row
    files = FILE.findall(cell)
    assert files
    assert all(path.endswith(f"/{name}") and (CHECKOUT / path).exists() for name, path in files)
    source = "".join((CHECKOUT / path).read_text() for _, path in files)
    for name in TEST.findall(FILE.sub("", cell)):
        assert f"def {name}(" in source, name
