"""When a certificate expires, and when to warn of it. Times are unix seconds."""

import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from refresherd.domain.formats import timestamp

DAY = 86_400.0

LONGEST = 1 << 20
"""In bytes; no certificate with its chain is longer."""

PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")

SEQUENCE, CONTEXT_0, UTC_TIME, GENERALIZED_TIME = 0x30, 0xA0, 0x17, 0x18
"""Tags of DER (X.690)."""

LONG_FORM = 0x80
"""A length's first byte of at least this is this plus the number of bytes that follow it."""

LAST_CENTURY = 50
"""A UTCTime's two-digit years from this one on are 19xx, the others 20xx (RFC 5280)."""


class Validity(StrEnum):
    """What an operator should know about a certificate's expiry."""

    VALID = "valid"
    EXPIRES_SOON = "expires soon"
    """Within 14 days, or a third of its lifetime if that is less."""
    LAST_DAY = "last day"
    """Within a day, or a tenth of its lifetime if that is less."""
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Dates:
    """The period in which a certificate is valid."""

    begins_at: float
    expires_at: float


def dates(pem: bytes) -> Dates:
    """Return the dates of the first certificate in PEM, which is the one that TLS presents.

    Raises ValueError. The ssl module tells the dates of CA certificates only.
    """
    found = PEM.search(pem)
    if found is None:
        raise ValueError("no certificate in PEM")
    # RFC 5280, 4.1: Certificate { tbsCertificate { [0] version, serialNumber, signature, issuer,
    # validity { notBefore, notAfter }, … }, … }
    certificate = _content(_element(b64decode(found[1]), 0), SEQUENCE)
    body = _content(_element(certificate, 0), SEQUENCE)
    at = 0
    if body[:1] == bytes([CONTEXT_0]):
        at = _element(body, at)[2]
    for _ in ("serialNumber", "signature", "issuer"):
        at = _element(body, at)[2]
    validity = _content(_element(body, at), SEQUENCE)
    not_before = _element(validity, 0)
    return Dates(_time(not_before), _time(_element(validity, not_before[2])))


def validity(of: Dates, now: float) -> Validity:
    """Return whether a certificate is valid, and how soon it expires."""
    left, lifetime = of.expires_at - now, of.expires_at - of.begins_at
    if left <= 0:
        return Validity.EXPIRED
    if left < min(DAY, lifetime / 10):
        return Validity.LAST_DAY
    return Validity.EXPIRES_SOON if left < min(14 * DAY, lifetime / 3) else Validity.VALID


def notice(of: Dates, now: float) -> str:
    """Return the message about a client certificate's expiry, "" if it is far off."""
    state = validity(of, now)
    if state is Validity.VALID:
        return ""
    at, cure = timestamp(of.expires_at), "renew it, the new file is picked up at once"
    if state is Validity.EXPIRED:
        return f"the client certificate expired at {at}; {cure}"
    return f"the client certificate expires at {at}; {cure}"


Element = tuple[int, bytes, int]
"""An element's tag, its content, and where the next one begins."""


def _element(der: bytes, at: int) -> Element:
    """Return the element at a place. Raises ValueError."""
    if at + 2 > len(der):
        raise ValueError("the certificate is truncated")
    tag, length = der[at], der[at + 1]
    at += 2
    if length >= LONG_FORM:
        digits = length - LONG_FORM
        length = int.from_bytes(der[at : at + digits])
        at += digits
    content = der[at : at + length]
    if len(content) < length:
        raise ValueError("the certificate is truncated")
    return tag, content, at + length


def _content(element: Element, tag: int) -> bytes:
    if element[0] != tag:
        raise ValueError("not a certificate")
    return element[1]


def _time(element: Element) -> float:
    """Return a time in unix seconds. Raises ValueError."""
    tag, content, _ = element
    text = content.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if int(text[:2]) >= LAST_CENTURY else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("not a time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
