"""The dates of a certificate, and what an operator is told of them."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from refresherd.domain.certificates import DAY, Dates, Validity, dates, notice, validity

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(begins: datetime, expires: datetime, name: str = "payments") -> bytes:
    """Return a certificate with these dates, in PEM."""
    subject = x509.Name.from_rfc4514_string(f"CN={name}")
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), 1)
    return (
        builder.not_valid_before(begins)
        .not_valid_after(expires)
        .sign(KEY, SHA256())
        .public_bytes(Encoding.PEM)
    )


@given(
    st.datetimes(datetime(1950, 1, 2), datetime(2049, 1, 1)),  # noqa: DTZ001  # as X.509 has them
    st.timedeltas(timedelta(seconds=1), timedelta(days=365_000)),
)
def test_dates_are_read_as_another_implementation_writes_them(
    begins: datetime, lifetime: timedelta
) -> None:
    """From 2050 on, X.509 writes times in another way, and so did it before 2000."""
    begins = begins.replace(microsecond=0, tzinfo=UTC)
    expires = begins + timedelta(seconds=int(lifetime.total_seconds()))
    found = dates(certificate(begins, expires))
    assert (found.begins_at, found.expires_at) == (begins.timestamp(), expires.timestamp())


def test_the_first_certificate_of_a_chain_counts() -> None:
    """That one is the app's own; the others are those of its authorities."""
    day = datetime(2030, 1, 1, tzinfo=UTC)
    own = certificate(day, day + timedelta(days=1))
    issuer = certificate(day, day + timedelta(days=999), "CA")
    assert dates(b"subject=payments\n" + own + issuer) == dates(own)


@given(st.binary(max_size=300) | st.binary(max_size=80).map(lambda der: b"0\x82\x01\x000" + der))
def test_anything_else_is_refused(der: bytes) -> None:
    """Whatever the file holds, only a ValueError may come of it."""
    with pytest.raises(ValueError):  # noqa: PT011  # its text is for nobody
        dates(der)
    with pytest.raises(ValueError):  # noqa: PT011  # as above
        dates(x509_pem(der))


def x509_pem(der: bytes) -> bytes:
    """Return bytes as a certificate in PEM."""
    from base64 import encodebytes  # noqa: PLC0415  # for this one line

    body = encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + body + b"-----END CERTIFICATE-----\n"


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_certificate_raises_nothing_but_a_value_error(place: int, byte: int) -> None:
    """A disk may have flipped bits, and the watch of all other certificates must go on."""
    day = datetime(2030, 1, 1, tzinfo=UTC)
    pem = bytearray(certificate(day, day + timedelta(days=1)))
    pem[place % len(pem)] = byte
    try:
        found = dates(bytes(pem))
    except ValueError:
        return
    assert found.expires_at > 0 or found.begins_at < found.expires_at or byte >= 0


@pytest.mark.parametrize(
    ("lifetime", "left", "expected"),
    [
        (365, 15, Validity.VALID),
        (365, 13.9, Validity.EXPIRES_SOON),
        (365, 1.1, Validity.EXPIRES_SOON),
        (365, 0.9, Validity.LAST_DAY),
        (365, 0, Validity.EXPIRED),
        (365, -9, Validity.EXPIRED),
        # A short-lived certificate, which a program renews, must not be warned about from birth.
        (1, 0.4, Validity.VALID),
        (1, 0.3, Validity.EXPIRES_SOON),
        (1, 0.05, Validity.LAST_DAY),
    ],
)
def test_an_operator_hears_of_it_in_good_time(
    lifetime: float, left: float, expected: Validity
) -> None:
    """Two weeks are enough for most procedures; a day before the end it is urgent."""
    now = 1_800_000_000.0
    found = Dates(now + (left - lifetime) * DAY, now + left * DAY)
    assert validity(found, now) is expected


def test_the_notice_says_when_and_what_to_do() -> None:
    """It is read in a log, long after the file was named."""
    found = Dates(0.0, 1_800_000_000.0)
    cure = "renew it, the new file is picked up at once"
    assert notice(found, 1_799_000_000.0) == (
        f"the client certificate expires at 2027-01-15T08:00:00Z; {cure}"
    )
    assert notice(found, 1_800_000_001.0) == (
        f"the client certificate expired at 2027-01-15T08:00:00Z; {cure}"
    )
    assert notice(found, 1.0) == ""
