"""Files that the daemon reads: they must exist, be private and have the right content."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from support.configurations import DSM, Place
from support.fakes import API_KEY
from support.other_users import reachable

TOKEN = "Zk3-x_9QbT" * 8 + "aB3dE6"

CERTIFICATE_APP = (
    f"{DSM}[apps.a]\napp_id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'\n"
    "cert_file = 'a.crt'\nkey_file = 'a.pem'\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a directory with an API key in it."""
    return Place(tmp_path)


@pytest.fixture
def shared_place() -> Iterator[Place]:
    """Yield a directory with an API key in it that other users may enter."""
    with reachable() as directory:
        yield Place(directory)


def app(credential: str) -> str:
    """Return a configuration whose only app has the credential, on line 4."""
    return f"{DSM}[apps.a]\n{credential}\n"


def private_key_pem(
    key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption
) -> bytes:
    """Return a private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def certificate_pem(key: ec.EllipticCurvePrivateKey, age: int = 0, days: int = 1) -> bytes:
    """Return a certificate that the key has signed itself, in PEM; its days count from now."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "payments")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=age))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


def write_pair(place: Place, encryption: KeySerializationEncryption | None = None) -> None:
    """Write a certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    place.write("a.crt", certificate_pem(key), 0o644)
    place.write("a.pem", private_key_pem(key, encryption or NoEncryption()))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_private_file_is_accepted(place: Place, mode: int) -> None:
    """A group may read it, which is how root gives a key to a service."""
    place.write("a.key", f"{API_KEY}\n", mode)
    assert place.faults(app("api_key_file = 'a.key'")) == ()


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602])
def test_a_key_that_other_users_can_read_or_change_is_refused(place: Place, mode: int) -> None:
    """The fault names the command that corrects it."""
    path = place.write("a.key", API_KEY, mode)
    (fault,) = place.faults(app("api_key_file = 'a.key'"))
    assert fault == (
        f'4: apps.a.api_key_file: "{path}" is accessible to other users (mode {mode:04o}); '
        f'run chmod 0600 "{path}"'
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gone", "does not exist"),
        (".", "is a directory"),
        ("pipe", "not a regular file"),
        ("a.key/x", "cannot be read: Not a directory"),
        ("\u00e9" * 128, "a name in this path has 256 bytes, and may have at most 255"),
        ("empty", "it is empty"),
        ("uuid", "it holds only an app's UUID"),
    ],
)
def test_a_path_without_an_api_key_is_refused(place: Place, name: str, expected: str) -> None:
    """So is a named pipe, which would block the start and can be read only once."""
    os.mkfifo(place.directory / "pipe", 0o600)
    place.write("a.key", API_KEY)
    place.write("empty", "")
    place.write("uuid", "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11")
    (fault,) = place.faults(app(f"api_key_file = '{name}'"))
    assert fault.startswith("4: apps.a.api_key_file: ")
    assert expected in fault


def test_a_file_that_may_not_be_read_is_refused(shared_place: Place) -> None:
    """The reason is the kernel's."""
    shared_place.write("closed.key", API_KEY, 0o000)
    (fault,) = shared_place.faults_of_nobody(app("api_key_file = 'closed.key'"))
    assert "cannot be read: Permission denied" in fault


def test_a_secret_pasted_for_its_path_is_not_repeated(place: Place) -> None:
    """Faults end up in logs."""
    for key in ("api_key_file", "token_file"):
        place.environ["STATE_DIRECTORY"] = str(place.directory)
        (fault,) = place.faults(app(f"{key} = '{API_KEY}'"))
        assert "this looks like the secret itself" in fault
        assert API_KEY[:20] not in fault


LDAP_APP = (
    f"{DSM}[apps.a]\nacct_id = '5cbd5b4a-4f0d-4d3e-8a51-2f5a0d0f3c77'\n"
    "app_name = 'payments'\npassword_file = 'a.password'\n"
)


def test_a_password_is_checked_as_a_key_is(place: Place) -> None:
    """It is as secret as an API key, and a wrong one may lock the account."""
    path = place.write("a.password", "open sesame\n")
    assert place.faults(LDAP_APP) == ()
    path.chmod(0o644)
    (fault,) = place.faults(LDAP_APP)
    assert fault.startswith(f'6: apps.a.password_file: "{path}" is accessible to other users')
    place.write("a.password", "")
    (fault,) = place.faults(LDAP_APP)
    assert fault == f'6: apps.a.password_file: "{path}": it is empty; it must hold the password'
    path.unlink()
    (fault,) = place.faults(LDAP_APP)
    assert "does not exist" in fault


def test_a_password_among_systemds_credentials_is_private_whatever_its_mode(place: Place) -> None:
    """Systemd protects the directory, and makes the files 0440 or 0400."""
    place.environ["CREDENTIALS_DIRECTORY"] = str(place.directory)
    place.write("a.password", "open sesame", 0o444)
    assert place.faults(LDAP_APP) == ()


def test_a_systemd_credential_is_accepted_with_any_mode(place: Place) -> None:
    """Its directory belongs to the service alone, whatever the mode of the file."""
    directory = place.directory / "credentials"
    directory.mkdir()
    place.environ["CREDENTIALS_DIRECTORY"] = str(directory)
    place.write("credentials/a", API_KEY, 0o444)
    assert place.faults(app("api_key_credential = 'a'")) == ()
    assert place.faults(app("api_key_file = 'credentials/a'")) == ()


def test_a_missing_systemd_credential_is_to_be_added_to_the_unit(place: Place) -> None:
    """The operator cannot create it: the unit has to name its source."""
    place.environ["CREDENTIALS_DIRECTORY"] = str(place.directory)
    (fault,) = place.faults(app("api_key_credential = 'b'"))
    assert fault.startswith(
        '4: apps.a.api_key_credential: systemd has not passed the credential "b"'
    )
    assert fault.endswith("add LoadCredential=b:FILE to the unit")


def test_a_token_file_must_hold_a_token(place: Place) -> None:
    """Hosts with a token file must not hold an API key."""
    place.environ["STATE_DIRECTORY"] = str(place.directory)
    place.write("a.token", TOKEN)
    assert place.faults(app("token_file = 'a.token'")) == ()
    (fault,) = place.faults(app("token_file = 'payments.key'"))
    assert "it holds an API key" in fault


def test_a_token_file_may_be_deleted_once_its_session_is_saved(place: Place) -> None:
    """Its token is no longer needed then, and unused secrets should be deleted."""
    place.environ["STATE_DIRECTORY"] = str(place.directory)
    (fault,) = place.faults(app("token_file = 'a.token'"))
    assert "does not exist" in fault
    place.write("a.session", "{}")
    assert place.faults(app("token_file = 'a.token'")) == ()
    assert place.faults(app("token_file = 'payments.key/a.token'")) == ()
    assert len(place.faults(app(f"token_file = '{TOKEN}'"))) == 1, "the token itself"
    place.write("a.token", TOKEN, 0o644)
    (fault,) = place.faults(app("token_file = 'a.token'"))
    assert "chmod 0600" in fault


def test_a_session_in_a_closed_state_directory_is_assumed_to_exist(shared_place: Place) -> None:
    """The user who checks the configuration may not be allowed into the state directory."""
    state = shared_place.directory / "state"
    state.mkdir(0o000)
    shared_place.environ["STATE_DIRECTORY"] = str(state)
    (fault,) = shared_place.faults_of_nobody(app("token_file = 'a.token'"))
    assert fault.startswith("1: state_dir: "), "and no fault about the token file"


def test_sessions_kept_despite_terminate_are_warned_about(place: Place) -> None:
    """The operator asked to end them, and the app could not start again."""
    place.environ["STATE_DIRECTORY"] = str(place.directory)
    place.write("a.token", TOKEN)
    text = app("token_file = 'a.token'")
    assert place.load(text).warnings == ()
    (warning,) = place.load(f"shutdown = 'terminate'\n{text}").warnings
    assert warning.startswith(
        f'{place.file}:1: warning: shutdown: "terminate" has no effect on apps with'
    )
    text = app("api_key_file = 'payments.key'")
    assert place.load(f"shutdown = 'terminate'\n{text}").warnings == ()


@pytest.mark.parametrize(
    ("command", "faults"),
    [
        ("['sh', '-c', 'true']", 0),
        ("['/bin/sh']", 0),
        ("['no-such-program']", 1),
        ("['pass dsm']", 1),
        ("['./sh']", 1),
        ("['']", 1),
        ("['/etc/passwd']", 1),
    ],
)
def test_a_command_must_exist(place: Place, command: str, faults: int) -> None:
    """It is an absolute path or on PATH; a relative one would depend on the working directory."""
    found = place.faults(app(f"api_key_command = {command}"))
    assert len(found) == faults
    assert all("api_key_command[0]: the program" in fault for fault in found)


def test_a_certificate_and_its_key_are_accepted(place: Place) -> None:
    """They are loaded together, as for a TLS handshake."""
    write_pair(place)
    assert place.faults(CERTIFICATE_APP) == ()


@pytest.mark.parametrize(("days", "verb"), [(10, "expires"), (-1, "expired")])
def test_a_certificate_that_ends_is_named_in_good_time(place: Place, days: int, verb: str) -> None:
    """An expired one is trouble of the host; one that expires soon is not, yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = place.write("a.crt", certificate_pem(key, age=300, days=days), 0o644)
    place.write("a.pem", private_key_pem(key, NoEncryption()))
    found = place.load(CERTIFICATE_APP)
    lines, others = (
        (found.warnings, found.troubles) if days > 0 else (found.troubles, found.warnings)
    )
    (line,) = lines
    assert f'apps.a.cert_file: "{path}": the client certificate {verb} at ' in line
    assert line.endswith("; renew it, the new file is picked up at once")
    assert others == ()


def test_a_private_key_must_be_private(place: Place) -> None:
    """The same modes as for an API key are refused."""
    write_pair(place)
    (place.directory / "a.pem").chmod(0o644)
    (fault,) = place.faults(CERTIFICATE_APP)
    assert "key_file" in fault
    assert "chmod 0600" in fault


def test_a_key_of_another_certificate_is_refused(place: Place) -> None:
    """Every login would fail in the handshake."""
    write_pair(place)
    other = ec.generate_private_key(ec.SECP256R1())
    place.write("a.pem", private_key_pem(other, NoEncryption()))
    (fault,) = place.faults(CERTIFICATE_APP)
    assert fault.startswith("6: apps.a.key_file: ")
    assert "does not belong to cert_file" in fault


def test_an_encrypted_key_is_refused(place: Place) -> None:
    """The daemon has no passphrase, and no terminal to ask for it."""
    write_pair(place, BestAvailableEncryption(b"hunter2"))
    (fault,) = place.faults(CERTIFICATE_APP)
    assert "the private key is encrypted" in fault


@pytest.mark.parametrize(
    ("name", "content", "faults"),
    [
        ("a.crt", b"", ["cert_file"]),
        ("a.pem", b"", ["key_file"]),
        ("a.crt", b"-----BEGIN CERTIFICATE-----\nx\n", ["key_file"]),
    ],
)
def test_a_broken_file_of_a_certificate_app_is_refused(
    place: Place, name: str, content: bytes, faults: list[str]
) -> None:
    """The fault is at the key of the broken file, as far as OpenSSL tells."""
    write_pair(place)
    place.write(name, content)
    found = place.faults(CERTIFICATE_APP)
    assert [fault.split(": ")[1] for fault in found] == [f"apps.a.{key}" for key in faults]


def test_an_incomplete_certificate_app_is_one_fault(place: Place) -> None:
    """The file that is named is checked nevertheless, and is valid."""
    write_pair(place)
    text = f"{DSM}[apps.a]\napp_id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'\nkey_file = 'a.pem'\n"
    (fault,) = place.faults(text)
    assert "missing: cert_file" in fault


def test_authorities_must_be_valid(place: Place) -> None:
    """They are checked in [dsm] for all apps, and for an app with its own."""
    write_pair(place)
    good = "ca_file = 'a.crt'\n"
    own = "[apps.a]\napi_key_file = 'payments.key'\n"
    assert place.faults(f"{DSM}{good}{own}{good}") == ()
    place.write("bad.pem", "-----BEGIN NOTHING-----\n")
    faults = place.faults(f"{DSM}ca_file = 'bad.pem'\n{own}ca_file = 'gone.pem'\n")
    assert [fault.split(": ")[1] for fault in faults] == ["dsm.ca_file", "apps.a.ca_file"]
    assert "holds no PEM certificates" in faults[0]
    assert "does not exist" in faults[1]


def test_the_state_directory_must_be_writable(place: Place) -> None:
    """It may come from the file or from systemd."""
    text = app("api_key_file = 'payments.key'")
    place.environ["STATE_DIRECTORY"] = str(place.directory)
    assert place.faults(text) == ()
    place.environ["STATE_DIRECTORY"] = str(place.directory / "made by the daemon")
    assert place.faults(text) == ()
    place.environ["STATE_DIRECTORY"] = str(place.directory / "gone" / "state")
    (fault,) = place.faults(text)
    assert fault.startswith(f'1: state_dir: the directory "{place.directory}/gone" does not exist')
    (fault,) = place.faults(f"state_dir = 'payments.key'\n{text}")
    assert "is not a directory" in fault
