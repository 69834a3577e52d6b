"""The emulator's own certificate authority; imported only where TLS is asked for."""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
VALID_FOR: Final = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, each in a PEM file."""

    cert_file: Path
    key_file: Path


class Authority:
    """A CA made on the spot; its files, and those of all it issues, stand in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name("refresherd emulator CA")
        builder = _builder(self._name, self._key.public_key(), self._name)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        builder = builder.add_extension(_key_usage(ca=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, names: Sequence[str]) -> ssl.SSLContext:
        """Return a server's TLS context; its certificate holds for localhost and `names`.

        A client may show a certificate of this CA, or none.
        """
        alternatives = x509.SubjectAlternativeName(
            [_general_name(name) for name in dict.fromkeys((*LOCAL_NAMES, *names))]
        )
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        issued = self._issue("server", _common_name("localhost"), alternatives, usage)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(issued.cert_file, issued.key_file)
        context.load_verify_locations(self.ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def issue_client(self, common_name: str) -> Certificate:
        """Issue a client certificate for a certificate app, whose UUID is its common name."""
        alternatives = x509.SubjectAlternativeName([x509.DNSName(common_name)])
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        return self._issue(f"client-{common_name}", _common_name(common_name), alternatives, usage)

    def _issue(
        self,
        stem: str,
        subject: x509.Name,
        alternatives: x509.SubjectAlternativeName,
        usage: x509.ObjectIdentifier,
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, key.public_key(), self._name)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        builder = builder.add_extension(alternatives, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(_key_usage(ca=False), critical=True)
        certificate = builder.sign(self._key, hashes.SHA256())
        issued = Certificate(self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        issued.cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_private(issued.key_file, key)
        return issued


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Tests set clients' clocks back, hence valid since before now.
        .not_valid_before(now - timedelta(days=365))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
