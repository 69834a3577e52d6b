"""The web configuration: what is accepted, and what is wrong, with file, line and key."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresherd.config import load, read_web_config
from refresherd.config.web_config import LONGEST
from refresherd.config.web_tls import CURVES, SUITES
from refresherd.domain.errors import ConfigError
from support.configurations import APP, DSM, Place
from support.lab import needs_tool
from support.web_tls import Authority, hashed

TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
CLIENTS = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
USERS = f"basic_auth_users:\n  anna: {hashed('secret')}\n"
WEB = f"{DSM}{APP}[http]\nweb_config_file = 'web.yml'\n"
"""The key is on line 6."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a directory with an authority and a server's certificate."""
    Authority(tmp_path).issue("server")
    return Place(tmp_path)


def faults(place: Place, text: str, mode: int = 0o600) -> list[str]:
    """Return the faults and troubles of a web configuration, without the file's name."""
    path = place.write("web.yml", text, mode)
    found = read_web_config(path)
    assert (found.protection is None) == bool(found.faults)
    return [line.removeprefix(f"{path}:") for line in found.faults]


def warnings(place: Place, text: str, mode: int = 0o600) -> list[str]:
    """Return the warnings of `check`, without the web configuration's name."""
    path = place.write("web.yml", text, mode)
    return [line.removeprefix(f"{path}:") for line in place.load(WEB).warnings]


ACCEPTED = {
    "nothing": "",
    "empty sections": "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n",
    "tls": TLS,
    "users": f"{USERS}  bert: {hashed('other').replace('$2b$', '$2y$')}\n",
    "clients": CLIENTS,  # Debian's promtool does not know client_allowed_sans yet
    "clients if given": CLIENTS.replace("RequireAndVerifyClientCert", "VerifyClientCertIfGiven"),
    "no clients": f"{TLS}  client_auth_type: NoClientCert\n",
    "versions": f"{TLS}  min_version: TLS12\n  max_version: TLS13\n",
    "one version": f"{TLS}  min_version: TLS13\n",
    "no preference": f"{TLS}  prefer_server_cipher_suites: false\n",
    "http": "http_server_config:\n  http2: off\n",
    "headers": (
        "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n"
        "    X-Content-Type-Options: nosniff\n    X-XSS-Protection: '0'\n"
        "    Strict-Transport-Security: max-age=31536000; includeSubDomains\n"
        "    Content-Security-Policy: default-src 'self'\n"
    ),
    **{curve: f"{TLS}  curve_preferences: [{curve}]\n" for curve in CURVES},
    **{name: f"{TLS}  cipher_suites: [{name}]\n" for name, known in SUITES.items() if known},
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_accepted_is_accepted_by_prometheus(place: Place, text: str) -> None:
    """Operators share such files between services, and check them with promtool."""
    assert faults(place, text) == []
    promtool = needs_tool("promtool")
    command = [promtool, "check", "web-config", str(place.directory / "web.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stderr


MISSING = "missing: TLS needs a certificate and its private key"
REQUIRED = '"RequireAndVerifyClientCert"'
NO_HASH = (
    "this is not a bcrypt hash, which has 60 characters and begins with $2; make one of the "
    'password: htpasswd -nB "anna"'
)

WRONG = {
    "- x\n": "1: this has to be a mapping: write its keys below it, indented",
    "basic_auth_user:\n": "1: basic_auth_user: unknown key; did you mean basic_auth_users?",
    "x: 1\n": (
        "1: x: unknown key; there are tls_server_config, http_server_config and basic_auth_users"
    ),
    "tls_server_config:\n  min_version: TLS13\n": (
        f"1: tls_server_config.cert_file: {MISSING}\n1: tls_server_config.key_file: {MISSING}"
    ),
    TLS.replace("cert_file: server.pem", "cert: |\n    secret"): (
        "2: tls_server_config.cert: keys and certificates have files of their own here; write "
        "cert_file instead"
    ),
    f"{TLS}  client_auth_type: RequireAnyClientCert\n": (
        '4: tls_server_config.client_auth_type: "RequireAnyClientCert" accepts certificates that '
        f"nobody has verified, which refresherd cannot do; write {REQUIRED} and client_ca_file"
    ),
    f"{TLS}  client_auth_type: Always\n": (
        '4: tls_server_config.client_auth_type: "Always" is not one of the choices; write '
        "NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert"
    ),
    f"{TLS}  client_ca_file: ca.pem\n": (
        "4: tls_server_config.client_ca_file: it has no effect without client_auth_type; write "
        f"{REQUIRED} there"
    ),
    f"{TLS}  client_allowed_sans: [a.example]\n": (
        "4: tls_server_config.client_allowed_sans: clients without a certificate would pass; "
        "write client_auth_type: RequireAndVerifyClientCert"
    ),
    f"{TLS}  min_version: TLS10\n": (
        '4: tls_server_config.min_version: "TLS10" is not secure any more, and not supported; '
        "write TLS12 or TLS13"
    ),
    f"{TLS}  min_version: TLS13\n  max_version: TLS12\n": (
        "5: tls_server_config.max_version: it is older than min_version; write TLS13, or nothing"
    ),
    f"{TLS}  cipher_suites:\n  - TLS_RSA_WITH_RC4_128_SHA\n": (
        '5: tls_server_config.cipher_suites[0]: "TLS_RSA_WITH_RC4_128_SHA" is not one of the '
        "suites that Go considers secure, such as TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
    ),
    f"{TLS}  cipher_suites: [TLS_AES_128_GCM_SHA256]\n": (
        "4: tls_server_config.cipher_suites: none of them is for TLS 1.2; write min_version: TLS13"
    ),
    f"{TLS}  curve_preferences: [X25519, CurveP256]\n": (
        "4: tls_server_config.curve_preferences: Python's ssl takes one curve or its usual ones; "
        "write one, or remove the key"
    ),
    f"{TLS}  curve_preferences: [CurveP224]\n": (
        '4: tls_server_config.curve_preferences[0]: "CurveP224" is not one of the choices; write '
        "CurveP256, CurveP384, CurveP521 or X25519"
    ),
    f"{TLS}  prefer_server_cipher_suites: 'true'\n": (
        "4: tls_server_config.prefer_server_cipher_suites: this has to be true or false, without "
        "quotes"
    ),
    "tls_server_config:\n  cert_file: [x]\n  key_file: ~/x\n": (
        "2: tls_server_config.cert_file: this has to be a single value\n"
        "3: tls_server_config.key_file: ~ is not expanded; write the full path"
    ),
    f"{TLS}  cipher_suites: x\n": (
        "4: tls_server_config.cipher_suites: this has to be a list: each item on a line, after a "
        "dash"
    ),
    "http_server_config:\n  headers:\n    X-Frame-Options: no\n": (
        '3: http_server_config.headers.X-Frame-Options: "no" is not accepted; write deny or '
        "sameorigin"
    ),
    'http_server_config:\n  headers:\n    X-XSS-Protection: "a\\r\\nb"\n': (
        "3: http_server_config.headers.X-XSS-Protection: it holds characters that no header may "
        "have"
    ),
    "http_server_config:\n  headers:\n    Server: x\n": (
        "3: http_server_config.headers.Server: unknown key; there are Content-Security-Policy, "
        "Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options and X-XSS-Protection"
    ),
    "basic_auth_users:\n  anna: secret\n": f"2: basic_auth_users.anna: {NO_HASH}",
    f"basic_auth_users:\n  anna: {hashed('x')[:-1]}\n": f"2: basic_auth_users.anna: {NO_HASH}",
    "basic_auth_users:\n  anna:\n": f"2: basic_auth_users.anna: {NO_HASH}",
    f"basic_auth_users:\n  'a:b': {hashed('x')}\n": (
        '2: basic_auth_users."a:b": no client can send a user name with a colon'
    ),
    "rate_limit:\n  interval: 1s\n  burst: 5\n": (
        "1: rate_limit: not supported: one client that asks too often would shut out all others; "
        "connections are limited by user, and answers shared; remove it"
    ),
    "a: 1\na: 2\n": '2: "a" is already set on line 1; delete one of the two',
    f"#{'x' * LONGEST}": "1: longer than 64 KiB; this is no web configuration",
}


@pytest.mark.parametrize(("text", "expected"), WRONG.items(), ids=lambda it: str(it)[:50])
def test_every_fault_names_line_key_and_cure(place: Place, text: str, expected: str) -> None:
    """Some of these are accepted by exporter-toolkit, but would silently do nothing here."""
    assert "\n".join(faults(place, text)) == expected


def test_all_faults_are_found_at_once(place: Place) -> None:
    """They come in the order of their lines."""
    text = "x: 1\ntls_server_config:\n  min_version: TLS1\nbasic_auth_users:\n  a: b\n"
    lines = [int(line.partition(":")[0]) for line in faults(place, text)]
    assert lines == [1, 2, 2, 3, 5]


def test_files_are_judged_like_those_of_apps(place: Place, tmp_path: Path) -> None:
    """They may be missing for now, be the wrong ones, or belong to something else."""
    other = Authority(tmp_path, "other").issue("other")
    place.write("text", "hello")
    gone = TLS.replace("server.pem", "gone.pem")
    (fault,) = faults(place, gone)
    assert fault == (
        f'2: tls_server_config.cert_file: "{tmp_path}/gone.pem" does not exist; create it, or '
        "correct the path"
    )
    (fault,) = faults(place, TLS.replace("server.pem", other.cert.name))
    assert fault.startswith("3: tls_server_config.key_file: ")
    assert "it does not belong to cert_file" in fault
    (fault,) = faults(place, TLS.replace("server.key", "text"))
    assert "it holds no PEM private key" in fault
    (fault,) = faults(place, CLIENTS.replace("ca.pem", "text"))
    assert fault.startswith("5: tls_server_config.client_ca_file: ")
    assert "it holds no PEM certificates" in fault


def test_check_names_the_place_in_the_web_configuration(place: Place) -> None:
    """Nobody looks for a key of the one file in the other."""
    place.write("web.yml", f"{TLS}  min_version: TLS9\n{USERS}  bert: x\n")
    with pytest.raises(ConfigError) as raised:
        place.load(WEB)
    first, second = raised.value.faults
    web = place.directory / "web.yml"
    assert first.startswith(f"{web}:4: tls_server_config.min_version: ")
    assert second.startswith(f"{web}:7: basic_auth_users.bert: ")


def test_what_is_missing_keeps_no_app_from_its_token(place: Place) -> None:
    """The daemon starts, and serves the pages as soon as the file or the certificate is there."""
    (trouble,) = place.load(WEB).troubles
    assert trouble == (
        f'{place.file}:6: http.web_config_file: "{place.directory}/web.yml" does not exist; '
        "create it, or correct the path"
    )
    place.write("web.yml", TLS.replace("server.pem", "gone.pem"))
    (trouble,) = place.load(WEB).troubles
    assert trouble.startswith(f"{place.directory}/web.yml:2: tls_server_config.cert_file: ")


def test_offline_the_file_is_not_looked_at(place: Place) -> None:
    """As other files that belong to the host."""
    place.file.write_text(WEB)
    place.write("web.yml", "x: 1\n")
    assert load(place.file, {}, offline=True).http.web_config_file is not None


def test_a_file_may_be_read_by_others_but_not_without_a_word(place: Place) -> None:
    """Hashes can be guessed, and whoever has the key can pretend to be the daemon."""
    assert warnings(place, TLS + USERS) == []
    (place.directory / "server.key").chmod(0o644)
    first, second = warnings(place, TLS + USERS, 0o644)
    web, key = place.directory / "web.yml", place.directory / "server.key"
    readable = "is readable by every user of this host (mode 0644); run chmod o-r"
    # One is about the whole file, which the configuration names.
    assert f'"{web}" {readable} "{web}"' in first
    assert second == f'3: warning: tls_server_config.key_file: "{key}" {readable} "{key}"'


@pytest.mark.parametrize("name", ["web.yml", "server.key", "server.pem"])
def test_a_file_that_others_may_change_is_refused(place: Place, name: str) -> None:
    """Whoever can write there decides who may read the pages, or reads along."""
    place.write("web.yml", TLS)
    (place.directory / name).chmod(0o666)
    with pytest.raises(ConfigError) as raised:
        place.load(WEB)
    (fault,) = raised.value.faults
    assert re.search(r"every user .*may write to", fault)


def test_no_output_may_take_the_place_of_its_files(place: Place) -> None:
    """A token would be written over the key."""
    place.write("web.yml", TLS)
    (fault,) = place.faults(f"{WEB}[[apps.payments.files]]\npath = 'server.key'\n")
    assert fault.startswith(
        "8: apps.payments.files[0].path: http.web_config_file.tls_server_config.key_file is read "
        "from this path"
    )


def test_what_protects_little_is_named(place: Place) -> None:
    """It is allowed, but may not be meant."""
    (nothing,) = warnings(place, "")
    assert nothing.endswith(
        "warning: http.web_config_file: it sets neither TLS nor a password, so the pages are open "
        "to all who connect"
    )
    (plain,) = warnings(place, USERS)
    assert plain == (
        "1: warning: basic_auth_users: without tls_server_config, passwords cross the network "
        "unencrypted"
    )
    (slow,) = warnings(place, f"{TLS}{USERS.replace('$04$', '$15$')}")
    assert slow.startswith("5: warning: basic_auth_users.anna: a cost of 15 makes each new client")
    (suites,) = warnings(
        place, f"{TLS}  cipher_suites: [{', '.join([*SUITES][-2:])}]\n  min_version: TLS13\n"
    )
    assert "suites of TLS 1.3 cannot be chosen" in suites
    system = CLIENTS.replace("  client_ca_file: ca.pem\n", "")
    (authorities,) = warnings(place, system)
    assert "clients of every authority that this host trusts pass" in authorities


def test_a_certificate_that_expires_is_named_and_served(place: Place, tmp_path: Path) -> None:
    """Whether it is still good enough is for the clients to say."""
    Authority(tmp_path).issue("server", days=-1)
    (warning,) = warnings(place, TLS)
    assert warning.startswith("2: warning: tls_server_config.cert_file: ")
    assert '/server.pem" expired at 2' in warning


@given(
    st.recursive(
        st.sampled_from(["x", "true", "server.pem", "TLS12", "[", "~", "$2y$10$"]),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
            | st.dictionaries(
                st.sampled_from(
                    ["cert_file", "tls_server_config", "headers", "http_server_config"]
                ),
                inner,
                max_size=3,
            ).map(
                lambda items: f"{{{', '.join(f'{key}: {value}' for key, value in items.items())}}}"
            )
        ),
        max_leaves=6,
    )
)
def test_any_shape_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Each key may have a value of any kind."""
    path = tmp_path_factory.getbasetemp() / "shape.yml"
    path.write_text(text)
    found = read_web_config(path)
    assert (found.protection is None) == bool(found.faults)


WITHOUT = """
import sys
from pathlib import Path
sys.modules[{module!r}] = None
from refresherd.config import read_web_config
print(*read_web_config(Path({path!r})).faults)
"""


@pytest.mark.parametrize(("module", "name"), [("yaml", "PyYAML"), ("bcrypt", "bcrypt")])
def test_missing_libraries_are_named(place: Place, module: str, name: str) -> None:
    """They are an extra, since few need them."""
    path = place.write("web.yml", TLS)
    program = WITHOUT.format(module=module, path=str(path))
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout == (
        f"{path}:1: it needs libraries that are missing ({name}); install them where refresherd is "
        "installed: pip install 'refresherd[web]'\n"
    )


def test_without_a_web_configuration_its_libraries_are_not_imported() -> None:
    """They would cost every daemon memory, and fail where they are not installed."""
    program = (
        "import sys, refresherd.daemon.daemon, refresherd.config\n"
        "print({'yaml', 'bcrypt', 'refresherd.adapters.web.gate'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout == "set()\n"
