"""Readers of a token who want it renewed without end: DSM is asked no more often than allowed."""

import json
import time
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from refresherd.domain.refresh_allowance import AT_ONCE
from support.attackers import TOKEN, Attacker, attacking
from support.other_users import AS_ROOT, Identity, answer, reachable
from support.programs import Dsm, Workplace, emulator, eventually, running

pytestmark = AS_ROOT

READER = "1236"

LIFETIME = 3600
"""Seconds; what readers may cause again takes six minutes, and the daemon itself renews later."""

SECONDS = 2.0
"""Of attack: without an allowance, some ten renewals."""

HEAD = """
[http]
listen = []
[refresh]
retry_min = "100ms"
"""

APP = f"""
[apps.payments.access]
users = ["{READER}"]
[[apps.payments.files]]
path = "payments.token"
"""


def renewals(dsm: Dsm) -> int:
    """Return how often DSM was asked for another token than the first."""
    with closing(HTTPConnection(urlsplit(dsm.url).netloc)) as connection:
        connection.request("GET", "/control/statistics")
        (app,) = json.load(connection.getresponse())["apps"]
    return int(app["logins"] + app["reauths"] + app["refreshes"]) - 1


@pytest.mark.parametrize(
    ("habit", "request_line", "status"),
    [
        ("refreshes", "POST /v1/apps/payments/refresh?wait=0", "429"),
        ("long-ttl", f"GET {TOKEN}?min_ttl=3599.9&wait=0", "503"),
    ],
)
def test_readers_can_have_a_token_renewed_a_few_times_only(
    habit: str, request_line: str, status: str
) -> None:
    """Each renewal costs DSM a session, and the host writes of files and runs of hooks.

    Those who ask too often are told when to come again, and still get the token that there is.
    """
    with reachable() as directory, emulator(f"--lifetime={LIFETIME}", "--apps=1") as dsm:
        workplace = Workplace(directory, dsm)
        workplace.app("payments", APP)
        with running("run", "--config", str(workplace.write(HEAD))):
            eventually(directory / "payments.token")
            api = directory / "api.sock"

            def ask(line: str) -> str:
                wire = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                return answer(api, wire, Identity(READER))

            with attacking(Attacker(habit, 4, int(READER)), str(api), SECONDS + 60):
                deadline = time.monotonic() + 20
                while renewals(dsm) < AT_ONCE and time.monotonic() < deadline:
                    time.sleep(0.1)
                time.sleep(SECONDS)
                refused = ask(request_line)
            assert renewals(dsm) == AT_ONCE
            assert refused.split()[1] == status
            (retry_after,) = (
                int(line.partition(":")[2])
                for line in refused.splitlines()
                if line.startswith("Retry-After:")
            )
            assert LIFETIME / 100 < retry_after <= LIFETIME / 10
            assert ask(f"GET {TOKEN}").split()[1] == "200"
