"""Who gets a token from the API: real users, groups and control groups, asked of the kernel."""

import asyncio
import grp
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest

from refresherd.domain.events import AccessDenied
from refresherd.domain.model import Access
from refresherd.domain.reload_plan import ReloadPlan
from support.api_place import Place, eventually, served
from support.fake_app import Script
from support.fakes import grants
from support.other_users import AS_ROOT, As, answer, stranger, unit_group

pytestmark = AS_ROOT

TOKEN = "/v1/apps/payments/token"
REFRESH = "/v1/apps/payments/refresh"
UID = "1234"
STRANGER = As(UID)
GRANTS = tuple(islice(grants(), 2))


async def ask(place: Place, request: str, who: As = STRANGER) -> tuple[int, dict[str, object]]:
    """Return code and JSON that another user's process is answered with."""
    wire = f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    text = await asyncio.to_thread(answer, place.path, wire, who)
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "access",
    [
        Access(users=(UID,)),
        Access(groups=("777",)),
        Access(groups=("5678",)),
        Access(groups=(grp.getgrgid(2).gr_name, "daemon")),
    ],
)
async def test_who_is_named_by_user_or_group_gets_the_token(access: Access) -> None:
    """By number or name, by the primary group or another."""
    async with served({"payments": access}) as place:
        code, token = await ask(place, f"GET {TOKEN}", As(UID, "777", "5678,1,2"))
        assert (code, token["access_token"]) == (200, "token-1")
        code, status = await ask(place, f"POST {REFRESH}?wait=0", As(UID, UID, "777,5678,2"))
        assert (code, status["name"]) == (200, "payments")


@pytest.mark.parametrize(
    "access",
    [
        Access(),
        Access(users=("1235", "no-such-user")),
        Access(groups=("1235", "no-such-group")),
        Access(units=("web.service",)),
    ],
)
@pytest.mark.parametrize(
    "request_line", [f"GET {TOKEN}", f"GET {TOKEN}?watch=1", f"POST {REFRESH}"]
)
async def test_who_is_not_named_is_denied(access: Access, request_line: str) -> None:
    """Whatever it asks for, and without a hint as to who would be served."""
    async with served({"payments": access}) as place:
        code, problem = await ask(place, request_line)
        assert (code, problem["detail"]) == (403, 'the token of "payments" is not for you')
        assert place.attempts() == 1
        (denied,) = place.observer.of(AccessDenied)
        message = (denied.app, denied.socket, denied.uid, denied.gid)
        assert message == ("payments", str(place.path), 1234, 1234)
        assert place.answered[-1][1] == 403


async def test_a_bad_parameter_does_not_tell_a_stranger_more() -> None:
    """Denied comes before anything that a request says."""
    async with served() as place:
        assert (await ask(place, f"GET {TOKEN}?format=xml"))[0] == 403


async def test_whoever_may_connect_is_told_of_all_apps() -> None:
    """A status holds no token; who is to see it, the socket's mode says."""
    async with served() as place:
        code, status = await ask(place, "GET /v1/apps")
        assert code == 200
        assert json.dumps(status).count('"name": "payments"') == 1
        assert (await ask(place, "GET /v1/apps/payments"))[0] == 200
        assert (await ask(place, "GET /v1/apps/paymnts/token"))[0] == 404


async def test_each_app_has_an_access_of_its_own() -> None:
    """That a user may read one token says nothing of the others."""
    apps = {"payments": Access(users=(UID,)), "ledger": Access(users=("1235",))}
    async with served(apps) as place:
        assert (await ask(place, f"GET {TOKEN}"))[0] == 200
        assert (await ask(place, "GET /v1/apps/ledger/token"))[0] == 403


async def test_the_nobody_of_another_namespace_is_never_let_in() -> None:
    """65534 is every user that has no number here."""
    access = Access(users=("65534", "nobody"), groups=("65534", "nogroup"))
    async with served({"payments": access}) as place:
        assert (await ask(place, f"GET {TOKEN}", As("65534")))[0] == 403
        assert (await ask(place, f"GET {TOKEN}", As(UID, "65534", "65534")))[0] == 403


async def test_a_unit_is_known_by_its_control_group() -> None:
    """No password and no file: systemd started it, so it may."""
    with unit_group("refresherd-api-test.service") as unit:
        async with served({"payments": Access(units=(unit.name,))}) as place:
            assert (await ask(place, f"GET {TOKEN}"))[0] == 403
            assert (await ask(place, f"GET {TOKEN}", As(UID, unit=str(unit))))[0] == 200
        async with served({"payments": Access(units=("other.service",))}) as place:
            assert (await ask(place, f"GET {TOKEN}", As(UID, unit=str(unit))))[0] == 403
            (denied,) = place.observer.of(AccessDenied)
            assert denied.unit == unit.name


def lines_of(process: "subprocess.Popen[str]") -> Callable[[], str]:
    """Return what reads a process' next line."""
    assert process.stdout is not None
    return process.stdout.readline


ASK_ON_DEMAND = f"""
connection = dial()
def ask():
    connection.sendall(b"GET {TOKEN}?format=raw HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = connection.recv(65536)
    while b"\\r\\n\\r\\n" not in answer:
        answer += connection.recv(65536)
    print(answer.split()[1].decode(), flush=True)
print("ready", flush=True)
for _ in sys.stdin:
    ask()
"""
"""A process that keeps one connection, and asks on it for each line that it is sent."""


async def test_a_connection_is_as_good_as_the_configuration_is_now() -> None:
    """Who was given access is served at once, and who lost it is denied, connected or not."""
    granted, revoked = Access(users=(UID,)), Access(users=("1235",))
    async with served({"payments": revoked}) as place:
        with stranger(place.path, ASK_ON_DEMAND, As(UID)) as process:
            assert process.stdin is not None
            codes = []
            for access in (revoked, granted, granted, revoked):
                (app,) = place.apps.apps
                plan = ReloadPlan(retune=(replace(app, access=access),))
                await place.reload(plan)
                process.stdin.write("ask\n")
                process.stdin.flush()
                codes.append(await asyncio.to_thread(lines_of(process)))
            assert codes == ["403\n", "200\n", "200\n", "403\n"]
            assert len(place.observer.of(AccessDenied)) == 2


async def test_access_that_is_lost_while_waiting_is_lost() -> None:
    """The token would be handed to somebody whom the operator has just shut out."""
    go_on = asyncio.Event()
    script: Script = [asyncio.Event(), go_on, *GRANTS]
    async with served({"payments": Access(users=(UID,))}, payments=script) as place:
        before = len(asyncio.all_tasks())
        by_operator = asyncio.create_task(ask(place, f"GET {TOKEN}?wait=60"))
        # Its own, its connection's and its request's.
        await eventually(lambda: len(asyncio.all_tasks()) == before + 3)
        (app,) = place.apps.apps
        await place.reload(ReloadPlan(retune=(replace(app, access=Access()),)))
        go_on.set()
        assert (await by_operator)[0] == 403
