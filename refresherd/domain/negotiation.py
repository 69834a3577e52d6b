"""Which of its forms a client wants an answer in: RFC 9110, sections 12.5.1 and 12.5.3."""

import re
from collections.abc import Iterator, Mapping

WEIGHT = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")

SINCE_1 = re.compile(r"0*[1-9][0-9]*(\..*)?")
"""A version that is not less than 1."""


def prefers_openmetrics(accept: str) -> bool:
    """Return whether an Accept header prefers OpenMetrics 1.0.0 to Prometheus' text format.

    Either is preferred to the other only if the header names it. A client that knows a later
    version of OpenMetrics, or does not name one, reads 1.0.0 as well.
    """
    openmetrics = text = 0.0
    for media_type, parameters, weight in _members(accept):
        version = parameters.get("version", "").strip('"')
        if media_type == "text/plain":
            text = max(text, weight)
        elif media_type == "application/openmetrics-text" and (
            not version or SINCE_1.fullmatch(version)
        ):
            openmetrics = max(openmetrics, weight)
    return openmetrics > 0.0 and openmetrics >= text


def prefers_gzip(accept_encoding: str) -> bool:
    """Return whether an Accept-Encoding header allows gzip, and does not prefer identity."""
    weights = {coding: weight for coding, _, weight in _members(accept_encoding)}
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0.0 and gzip >= weights.get("identity", 0.0)


def _members(header: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Yield each member of a header in lower case, with its parameters and its weight.

    A weight that is not one counts as 0: what the client means by it is not known.
    """
    for member in header.lower().split(","):
        name, *rest = (part.strip() for part in member.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip(): value.strip() for key, _, value in pairs}
        weight = parameters.get("q", "1")
        yield name, parameters, float(weight) if WEIGHT.fullmatch(weight) else 0.0
