"""Which form a client prefers, judged beside prometheus_client where that follows the RFC."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder

from refresherd.domain.negotiation import prefers_gzip, prefers_openmetrics

OPENMETRICS = "application/openmetrics-text"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
TEXT_FIRST = "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5"


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        (TEXT_FIRST, False),
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        (OPENMETRICS, True),
        ("Application/OpenMetrics-Text; Version=1.0.0", True),
        (f'{OPENMETRICS}; version="1.0.0"', True),
        (f"{OPENMETRICS};version=2.0.0", True),
        (f"{OPENMETRICS};version=0.0.1", False),
        (f"{OPENMETRICS};version=0.9.1,{OPENMETRICS};version=1.0.0", True),
        (f"{OPENMETRICS};version=new", False),
        (f"{OPENMETRICS};q=0", False),
        (f"{OPENMETRICS};q=0.0,text/plain", False),
        (f"{OPENMETRICS};q=much", False),
        (f"{OPENMETRICS};version={'9' * 5000}", True),
    ],
)
def test_openmetrics_is_chosen_where_a_scraper_prefers_it(
    accept: str, *, openmetrics: bool
) -> None:
    """Prometheus orders the formats by `scrape_protocols`, and says so by weights."""
    assert prefers_openmetrics(accept) == openmetrics


versions = st.sampled_from(["", ";version=0.0.1", ";version=0.0.4", ";version=1.0.0"])
openmetrics_types = st.tuples(st.just(OPENMETRICS), versions)
other_types = st.tuples(
    st.sampled_from(["text/plain", "text/html", "*/*", "text/*"]), st.sampled_from(["", ";a=b"])
)
members = st.one_of(openmetrics_types, other_types).map("".join)


@given(st.lists(members))
def test_without_weights_the_choice_is_prometheus_clients(accepted: list[str]) -> None:
    """Scrapers are tested against its exporters."""
    accept = ", ".join(accepted)
    _, content_type = choose_encoder(accept)
    assert prefers_openmetrics(accept) == content_type.startswith(OPENMETRICS)


@pytest.mark.parametrize(
    ("accept_encoding", "gzip"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip, deflate, br, zstd", True),
        ("x-gzip", True),
        ("*", True),
        ("identity;q=0, *;q=0.5", True),
        ("gzip; q=1.000", True),
        ("", False),
        ("identity", False),
        ("deflate, br", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=2", False),
        ("gzip;q=", False),
        ("notgzip", False),
    ],
)
def test_gzip_is_sent_only_to_a_client_that_takes_it(accept_encoding: str, *, gzip: bool) -> None:
    """A client that refuses gzip cannot read it."""
    assert prefers_gzip(accept_encoding) == gzip


@given(st.text())
def test_no_header_is_too_odd(header: str) -> None:
    """Anybody can send anything, and must get an answer."""
    assert prefers_openmetrics(header) in (True, False)
    assert prefers_gzip(header) in (True, False)
