"""What an operator reads when DSM refuses a credential."""

from pathlib import Path

import pytest

from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    Credential,
    Endpoint,
    LdapApp,
    SystemdCredential,
    TokenFile,
)
from refresherd.domain.refusal import refusal

UUID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
AT_ONCE = "replace it, the change is picked up at once"


@pytest.mark.parametrize(
    ("credential", "thing", "cure"),
    [
        (ApiKeyFile(Path("/etc/orders.key")), "the key in /etc/orders.key", AT_ONCE),
        (
            SystemdCredential("orders", Path("/run/credentials/refresherd.service")),
            'the key in the systemd credential "orders"',
            "replace what LoadCredential= reads, and restart the unit",
        ),
        (
            ApiKeyEnv("FORTANIX_API_KEY"),
            "the key in $FORTANIX_API_KEY",
            "replace it there, and restart the daemon",
        ),
        (
            ApiKeyCommand(("pass", "dsm")),
            "the key that pass prints",
            "replace it there, and run `refresherd refresh orders`",
        ),
        (TokenFile(Path("/etc/orders.token")), "the token in /etc/orders.token", AT_ONCE),
        (
            Certificate(UUID, Path("/etc/orders.crt"), Path("/etc/orders.pem")),
            f"the certificate in /etc/orders.crt, for the app {UUID},",
            AT_ONCE,
        ),
        (
            LdapApp(UUID, "cn=orders", Path("/etc/orders.password")),
            'the password in /etc/orders.password, for the app "cn=orders",',
            AT_ONCE,
        ),
    ],
)
def test_a_refusal_names_the_place_the_endpoint_and_the_cure(
    credential: Credential, thing: str, cure: str
) -> None:
    """The operator needs no second look: neither at the configuration nor at the documentation."""
    app = App("orders", Endpoint("https://amer.smartkey.io"), credential)
    assert refusal(app, "401 Unauthorized: no such app") == (
        f"{thing} was refused by https://amer.smartkey.io (401 Unauthorized: no such app); {cure}; "
        "or enable the app in DSM and run `refresherd refresh orders`"
    )


def test_a_bound_login_may_be_refused_for_the_other_app() -> None:
    """Then the key is good, and replacing it would help nothing."""
    endpoint, key = Endpoint("https://amer.smartkey.io"), ApiKeyFile(Path("/etc/orders.key"))
    message = refusal(App("orders", endpoint, key, bind_to=UUID), "403 Forbidden")
    assert f"{AT_ONCE}; or correct bind_to, {UUID}; or enable the app in DSM" in message
