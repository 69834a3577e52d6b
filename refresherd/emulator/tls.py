"""The emulator's own certificate authority; imported only if TLS is used."""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate and its private key, each in a PEM file."""

    cert_file: Path
    key_file: Path


class Authority:
    """A CA; its certificate, its key and those that it issues are files in `directory`.

    A CA that is there already is used again. Raises ValueError if its files are damaged, or its key
    is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._name = x509.Name.from_rfc4514_string("CN=refresherd emulator CA")
        self.ca_file, key_file = directory / "ca.pem", directory / "ca.key"
        if self.ca_file.exists():
            self._certificate, self._key = _load(self.ca_file, key_file)
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(
            self._name,
            self._key.public_key(),
            x509.BasicConstraints(ca=True, path_length=0),
            # From 3.13 on, Python rejects a CA without this extension.
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
        )
        # The key comes first: after a kill in between, nobody can have trusted the certificate yet.
        _write_key(key_file, self._key)
        self.ca_file.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def server_context(self, names: Sequence[str]) -> ssl.SSLContext:
        """Return a server's TLS context; its certificate is for localhost and `names`.

        A client may show a certificate of this CA, or none.
        """
        hosts = [*dict.fromkeys(("localhost", "127.0.0.1", "::1", *names))]
        issued = self._issue("server", hosts, ExtendedKeyUsageOID.SERVER_AUTH)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(issued.cert_file, issued.key_file)
        context.load_verify_locations(self.ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def issue_client(self, app_id: str) -> CertificateFiles:
        """Return a client certificate for a certificate app, with its UUID as common name.

        One that this CA has issued before is used again.
        """
        stem = self._directory / f"client-{app_id}"
        files = CertificateFiles(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        if files.key_file.exists() and self._has_issued(files.cert_file):
            return files
        return self._issue(f"client-{app_id}", [app_id], ExtendedKeyUsageOID.CLIENT_AUTH)

    def _has_issued(self, cert_file: Path) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
            certificate.verify_directly_issued_by(self._certificate)
        except (OSError, TypeError, ValueError, InvalidSignature):
            return False
        return True

    def _issue(
        self, stem: str, names: Sequence[str], usage: x509.ObjectIdentifier
    ) -> CertificateFiles:
        """Issue a certificate for these names; the first is its common name as well."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            x509.Name.from_rfc4514_string(f"CN={names[0]}"),
            key.public_key(),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
            x509.SubjectAlternativeName([_general_name(name) for name in names]),
            x509.ExtendedKeyUsage([usage]),
        )
        files = CertificateFiles(self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        files.cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        _write_key(files.key_file, key)
        return files

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            # Tests set the clocks of clients back.
            .not_valid_before(now - timedelta(days=365))
            .not_valid_after(now + timedelta(days=3650))
        )
        for extension in (x509.SubjectKeyIdentifier.from_public_key(key), *extensions):
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self._key, hashes.SHA256())


def _load(ca_file: Path, key_file: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the certificate and the key of the CA in these files. Raises ValueError."""
    try:
        certificate = x509.load_pem_x509_certificate(ca_file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (FileNotFoundError, TypeError, ValueError, UnsupportedAlgorithm):
        key = None
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey)
        or key.public_key() != certificate.public_key()
    ):
        message = f"{ca_file.name} and {key_file.name} are not the emulator's certificate and key"
        raise ValueError(f"{message}; remove both to get a new CA")
    return certificate, key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
