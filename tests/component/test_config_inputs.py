"""What the daemon reads: there, private where it must be, and what it should be."""

import os
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

TOKEN = "Zk3-x_9QbT" * 8 + "aB3dE6"

CERTIFICATE_APP = (
    f"{DSM}[apps.a]\napp_id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'\n"
    "cert_file = 'a.crt'\nkey_file = 'a.pem'\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a directory with an API key in it."""
    return Place(tmp_path)


def app(credential: str) -> str:
    """Return a configuration whose only app has the credential, on line 4."""
    return f"{DSM}[apps.a]\n{credential}\n"


def private_key_pem(
    key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption
) -> bytes:
    """Return a private key as its file holds it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def certificate_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate of the key's own."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "payments")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)


def write_pair(place: Place, encryption: KeySerializationEncryption | None = None) -> None:
    """Write a certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    place.write("a.crt", certificate_pem(key), 0o644)
    place.write("a.pem", private_key_pem(key, encryption or NoEncryption()))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_private_key_file_is_good(place: Place, mode: int) -> None:
    """A group may read it: that is how root hands a key to a service."""
    place.write("a.key", f"{API_KEY}\n", mode)
    assert place.faults(app("api_key_file = 'a.key'")) == ()


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602])
def test_a_key_that_others_can_read_or_change_is_refused(place: Place, mode: int) -> None:
    """With the command that mends it."""
    path = place.write("a.key", API_KEY, mode)
    (fault,) = place.faults(app("api_key_file = 'a.key'"))
    assert fault == (
        f'4: apps.a.api_key_file: "{path}" is accessible to other users (mode {mode:04o}); '
        f'run chmod 0600 "{path}"'
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone", "does not exist"),
        (".", "is a directory"),
        ("pipe", "not a regular file"),
        ("a.key/x", "cannot be read: Not a directory"),
        ("x" * 300, "cannot be read: File name too long"),
        ("empty", "it is empty"),
        ("uuid", "it holds only an app's UUID"),
    ],
)
def test_what_holds_no_key_is_refused(place: Place, name: str, said: str) -> None:
    """A named pipe too: it would hold up the start, and its content is gone once read."""
    os.mkfifo(place.directory / "pipe", 0o600)
    place.write("a.key", API_KEY)
    place.write("empty", "")
    place.write("uuid", "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c11")
    (fault,) = place.faults(app(f"api_key_file = '{name}'"))
    assert fault.startswith("4: apps.a.api_key_file: ")
    assert said in fault


def test_a_file_that_may_not_be_read_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all, so the kernel's refusal is played."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    text = app("api_key_file = 'payments.key'")
    place.file.write_text(text)
    monkeypatch.setattr("refresherd.config.input_files.os.open", refuse)
    (fault,) = place.faults(text)
    assert "cannot be read: Permission denied" in fault


def test_a_key_pasted_in_place_of_its_path_is_not_repeated(place: Place) -> None:
    """The fault would carry it into logs."""
    for key in ("api_key_file", "token_file"):
        place.environ["STATE_DIRECTORY"] = str(place.directory)
        (fault,) = place.faults(app(f"{key} = '{API_KEY}'"))
        assert "this looks like the secret itself" in fault
        assert API_KEY[:20] not in fault


def test_what_systemd_keeps_in_its_directory_is_trusted(place: Place) -> None:
    """It is the service's own, whatever its mode looks like."""
    directory = place.directory / "credentials"
    directory.mkdir()
    place.environ["CREDENTIALS_DIRECTORY"] = str(directory)
    place.write("credentials/a", API_KEY, 0o444)
    assert place.faults(app("api_key_credential = 'a'")) == ()
    assert place.faults(app("api_key_file = 'credentials/a'")) == ()


def test_a_credential_that_systemd_did_not_pass_on_is_named_by_its_unit(place: Place) -> None:
    """It is not for the operator to create: the unit has to say where it is from."""
    place.environ["CREDENTIALS_DIRECTORY"] = str(place.directory)
    (fault,) = place.faults(app("api_key_credential = 'b'"))
    assert fault.startswith(
        '4: apps.a.api_key_credential: systemd has not passed the credential "b"'
    )
    assert fault.endswith("add LoadCredential=b:FILE to the unit")


def test_a_token_file_holds_a_token(place: Place) -> None:
    """And not the API key that such a host is not to have."""
    place.environ["STATE_DIRECTORY"] = str(place.directory)
    place.write("a.token", TOKEN)
    assert place.faults(app("token_file = 'a.token'")) == ()
    (fault,) = place.faults(app("token_file = 'payments.key'"))
    assert "it holds an API key" in fault


def test_a_bootstrap_may_be_deleted_once_its_session_is_kept(place: Place) -> None:
    """It is dead by then, and secrets should not lie about."""
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


def test_a_kept_session_that_cannot_be_looked_for_is_presumed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever checks the configuration need not be who may enter the state directory."""
    stat = Path.stat

    def refuse(path: Path) -> os.stat_result:
        if path.name == "a.session":
            raise PermissionError(13, "Permission denied")
        return stat(path)

    place.environ["STATE_DIRECTORY"] = str(place.directory)
    monkeypatch.setattr("refresherd.config.input_files.Path.stat", refuse)
    assert place.faults(app("token_file = 'a.token'")) == ()


def test_sessions_that_are_kept_against_the_setting_are_told(place: Place) -> None:
    """The operator asked for their end, which would be the app's."""
    place.environ["STATE_DIRECTORY"] = str(place.directory)
    place.write("a.token", TOKEN)
    text = app("token_file = 'a.token'")
    assert place.load(text).warnings == ()
    (warning,) = place.load(f"shutdown = 'terminate'\n{text}").warnings
    assert warning.startswith(f'{place.file}:1: shutdown: "terminate" has no effect on apps with')
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
def test_a_command_must_be_there(place: Place, command: str, faults: int) -> None:
    """By an absolute path or on PATH: a relative one would depend on the working directory."""
    message = place.faults(app(f"api_key_command = {command}"))
    assert len(message) == faults
    assert all("api_key_command[0]: the program" in fault for fault in message)


def test_a_certificate_app_has_a_certificate_and_its_key(place: Place) -> None:
    """They are loaded together, as for a handshake."""
    write_pair(place)
    assert place.faults(CERTIFICATE_APP) == ()


def test_a_private_key_is_private(place: Place) -> None:
    """As an API key is."""
    write_pair(place)
    (place.directory / "a.pem").chmod(0o644)
    (fault,) = place.faults(CERTIFICATE_APP)
    assert "key_file" in fault
    assert "chmod 0600" in fault


def test_a_strange_key_is_refused(place: Place) -> None:
    """The handshake would fail at every login."""
    write_pair(place)
    stranger = ec.generate_private_key(ec.SECP256R1())
    place.write("a.pem", private_key_pem(stranger, NoEncryption()))
    (fault,) = place.faults(CERTIFICATE_APP)
    assert fault.startswith("6: apps.a.key_file: ")
    assert "does not belong to cert_file" in fault


def test_an_encrypted_key_is_refused(place: Place) -> None:
    """OpenSSL would ask for the passphrase on a terminal that is not there."""
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
    """At the key of the file that is broken, where that can be told."""
    write_pair(place)
    place.write(name, content)
    found = place.faults(CERTIFICATE_APP)
    assert [fault.split(": ")[1] for fault in found] == [f"apps.a.{key}" for key in faults]


def test_a_certificate_without_its_key_is_looked_at_all_the_same(place: Place) -> None:
    """Every fault at once: the key that is missing, and the file that is."""
    write_pair(place)
    text = f"{DSM}[apps.a]\napp_id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'\nkey_file = 'a.pem'\n"
    (fault,) = place.faults(text)
    assert "missing: cert_file" in fault


def test_authorities_must_be_loadable(place: Place) -> None:
    """Once for all apps in [dsm], and for an app that has its own."""
    write_pair(place)
    good = "ca_file = 'a.crt'\n"
    own = "[apps.a]\napi_key_file = 'payments.key'\n"
    assert place.faults(f"{DSM}{good}{own}{good}") == ()
    place.write("bad.pem", "-----BEGIN NOTHING-----\n")
    faults = place.faults(f"{DSM}ca_file = 'bad.pem'\n{own}ca_file = 'gone.pem'\n")
    assert [fault.split(": ")[1] for fault in faults] == ["dsm.ca_file", "apps.a.ca_file"]
    assert "holds no PEM certificates" in faults[0]
    assert "does not exist" in faults[1]


def test_plain_pages_are_not_served_where_tls_was_wanted(place: Place) -> None:
    """Refusing is safer, until this version can."""
    text = app("api_key_file = 'payments.key'") + "[http]\nweb_config_file = 'web.yml'\n"
    place.write("web.yml", "")
    (fault,) = place.faults(text)
    assert fault.startswith("6: http.web_config_file: this version supports neither TLS nor")
    (place.directory / "web.yml").unlink()
    assert len(place.faults(text)) == 2


def test_the_state_directory_must_be_writable(place: Place) -> None:
    """Wherever it comes from."""
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
