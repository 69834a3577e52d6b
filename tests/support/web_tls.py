"""Certificates and web configurations for the tests of a listener that is protected by one."""

import ssl
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

USAGES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, each in a PEM file."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority whose files are in a directory."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._name = x509.Name.from_rfc4514_string(f"CN={name}")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = directory / f"{name}.pem"
        certificate = self._sign(
            self._name,
            self._key.public_key(),
            x509.BasicConstraints(ca=True, path_length=0),
            x509.KeyUsage(**_USAGE_OF_CA),
        )
        self.ca_file.write_bytes(certificate)

    def issue(self, stem: str, *names: x509.GeneralName | str, days: float = 60.0) -> Pair:
        """Write STEM.pem and STEM.key, for a server or a client of these names."""
        pair = Pair(self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        key = ec.generate_private_key(ec.SECP256R1())
        pair.key.touch(mode=0o600)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pair.key.write_bytes(private)
        certificate = self._sign(
            x509.Name.from_rfc4514_string(f"CN={stem}"),
            key.public_key(),
            x509.SubjectAlternativeName([*map(_general_name, names or ("localhost",))]),
            x509.ExtendedKeyUsage(USAGES),
            days=days,
        )
        pair.cert.write_bytes(certificate)
        return pair

    def client_context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """Return how a client connects that trusts this authority, and shows a certificate."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *extensions: x509.ExtensionType,
        days: float = 60.0,
    ) -> bytes:
        now, authority = datetime.now(UTC), self._key.public_key()
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(self._name, subject, key, serial)
        builder = builder.not_valid_before(now - timedelta(days=2))
        builder = builder.not_valid_after(now + timedelta(days=days))
        for extension in (
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority),
            x509.SubjectKeyIdentifier.from_public_key(key),
            *extensions,
        ):
            # From 3.13 on, Python verifies as strictly as RFC 5280.
            critical = isinstance(extension, x509.BasicConstraints)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


_USAGE_OF_CA = {
    **dict.fromkeys(("digital_signature", "content_commitment", "key_encipherment"), False),
    **dict.fromkeys(("data_encipherment", "key_agreement"), False),
    **dict.fromkeys(("encipher_only", "decipher_only"), False),
    **dict.fromkeys(("key_cert_sign", "crl_sign"), True),
}


def _general_name(name: x509.GeneralName | str) -> x509.GeneralName:
    if isinstance(name, x509.GeneralName):
        return name
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def hashed(password: str, cost: int = 4) -> str:
    """Return a password's bcrypt hash, by default the cheapest."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header field with which a client sends a password."""
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
