"""Who gets a token from the API: real users, groups and control groups."""

import asyncio
import grp
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest

from refresherd.domain.events import AccessDenied
from refresherd.domain.labels import ApiRoute
from refresherd.domain.model import Access
from refresherd.domain.reload_plan import ReloadPlan
from support.api_place import Place, eventually, served
from support.fake_app import Script
from support.fakes import grants, settle
from support.other_users import AS_ROOT, Identity, answer, other_process, unit_group

pytestmark = AS_ROOT

TOKEN = "/v1/apps/payments/token"
REFRESH = "/v1/apps/payments/refresh"
UID = "1234"
OTHER_USER = Identity(UID)
GRANTS = tuple(islice(grants(), 2))


async def ask(
    place: Place, request: str, who: Identity = OTHER_USER
) -> tuple[int, dict[str, object]]:
    """Return the code and the JSON that a process of another user gets."""
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
async def test_a_client_named_by_user_or_group_gets_the_token(access: Access) -> None:
    """Numbers and names work, and primary and supplementary groups."""
    async with served({"payments": access}) as place:
        code, token = await ask(place, f"GET {TOKEN}", Identity(UID, "777", "5678,1,2"))
        assert (code, token["access_token"]) == (200, "token-1")
        code, status = await ask(place, f"POST {REFRESH}?wait=0", Identity(UID, UID, "777,5678,2"))
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
async def test_a_client_that_is_not_named_is_denied(access: Access, request_line: str) -> None:
    """This holds for every request, and the answer does not reveal who has access."""
    async with served({"payments": access}) as place:
        code, problem = await ask(place, request_line)
        assert code == 403
        assert problem["detail"] == 'you may not read or refresh the token of "payments"'
        assert place.attempts() == 1
        (denied,) = place.observer.of(AccessDenied)
        client = (denied.app, denied.socket, denied.uid, denied.gid)
        assert client == ("payments", str(place.path), 1234, 1234)
        assert place.answered[-1][1] == 403


async def test_access_is_checked_before_parameters() -> None:
    """Another user learns nothing from parameter errors."""
    async with served() as place:
        assert (await ask(place, f"GET {TOKEN}?format=xml"))[0] == 403


async def test_every_client_may_read_the_status() -> None:
    """A status has no token; the socket's mode decides who can read it."""
    async with served() as place:
        code, status = await ask(place, "GET /v1/apps")
        assert code == 200
        assert json.dumps(status).count('"name": "payments"') == 1
        assert (await ask(place, "GET /v1/apps/payments"))[0] == 200
        assert (await ask(place, "GET /v1/apps/paymnts/token"))[0] == 404


async def test_each_app_has_its_own_access() -> None:
    """A user who may read one token may not read another."""
    apps = {"payments": Access(users=(UID,)), "ledger": Access(users=("1235",))}
    async with served(apps) as place:
        assert (await ask(place, f"GET {TOKEN}"))[0] == 200
        assert (await ask(place, "GET /v1/apps/ledger/token"))[0] == 403


async def test_nobody_is_a_user_like_any_other() -> None:
    """Where each user of the host has a number here, 65534 stands for that one alone."""
    access = Access(users=("65534",), groups=("65534",))
    async with served({"payments": access}) as place:
        assert (await ask(place, f"GET {TOKEN}", Identity("65534", "7")))[0] == 200
        assert (await ask(place, f"GET {TOKEN}", Identity(UID, "65534")))[0] == 200
        assert (await ask(place, f"GET {TOKEN}", Identity(UID, "7", "65534")))[0] == 200
        assert (await ask(place, f"GET {TOKEN}", Identity(UID, "7")))[0] == 403


async def test_a_unit_is_identified_by_its_control_group() -> None:
    """A unit needs no password and no file: the kernel knows what systemd started."""
    with unit_group("refresherd-api-test.service") as unit:
        async with served({"payments": Access(units=(unit.name,))}) as place:
            assert (await ask(place, f"GET {TOKEN}"))[0] == 403
            assert (await ask(place, f"GET {TOKEN}", Identity(UID, unit=str(unit))))[0] == 200
        async with served({"payments": Access(units=("other.service",))}) as place:
            assert (await ask(place, f"GET {TOKEN}", Identity(UID, unit=str(unit))))[0] == 403
            (denied,) = place.observer.of(AccessDenied)
            assert denied.unit == unit.name


def lines_of(process: "subprocess.Popen[str]") -> Callable[[], str]:
    """Return a function that reads the next line of a process."""
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
"""A process that sends a request on the same connection for each line on its standard input."""


async def test_open_connections_follow_a_changed_access() -> None:
    """A user who gains access is served at once, and one who loses it is denied."""
    granted, revoked = Access(users=(UID,)), Access(users=("1235",))
    async with served({"payments": revoked}) as place:
        with other_process(place.path, ASK_ON_DEMAND, Identity(UID)) as process:
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


async def test_access_may_be_lost_while_a_request_waits() -> None:
    """The token must not go to somebody whom the operator has just shut out."""
    go_on = asyncio.Event()
    script: Script = [asyncio.Event(), go_on, *GRANTS]
    async with served({"payments": Access(users=(UID,))}, payments=script) as place:
        before = len(asyncio.all_tasks())
        request = asyncio.create_task(ask(place, f"GET {TOKEN}?wait=60"))
        # One task each for the test's request and for the answer.
        await eventually(lambda: len(asyncio.all_tasks()) == before + 2)
        (app,) = place.apps.apps
        await place.reload(ReloadPlan(retune=(replace(app, access=Access()),)))
        go_on.set()
        assert (await request)[0] == 403


async def test_access_that_is_lost_ends_a_watch() -> None:
    """The next token is not for its client any more."""
    async with served({"payments": Access(users=(UID,))}) as place:
        request = f"GET {TOKEN}?watch=1 HTTP/1.0\r\n\r\n"
        watch = asyncio.create_task(asyncio.to_thread(answer, place.path, request, OTHER_USER))
        await eventually(lambda: len(place.answered) == 1)
        await settle()
        (app,) = place.apps.apps
        await place.reload(ReloadPlan(retune=(replace(app, access=Access()),)))
        await place.advance(300)
        text = await watch
        assert "token-1" in text
        assert "token-2" not in text


async def test_a_reader_may_not_have_a_token_renewed_again_and_again() -> None:
    """It learns how long to wait, and still gets the token that there is."""
    async with served({"payments": Access(users=(UID,))}) as place:
        codes = []
        for _ in range(5):
            place.clock.advance(2)
            codes.append((await ask(place, "POST /v1/apps/payments/refresh?wait=0"))[0])
        assert codes == [200, 200, 200, 429, 429]
        assert (await ask(place, f"GET {TOKEN}"))[0] == 200
        assert place.answered[-2:] == [(ApiRoute.REFRESH, 429), (ApiRoute.TOKEN, 200)]


async def test_the_status_names_who_got_the_token_lately() -> None:
    """Before a session is ended or a key replaced, somebody asks who uses it."""
    async with served({"payments": Access(users=(UID,))}) as place:
        assert (await ask(place, f"GET {TOKEN}", Identity("1235")))[0] == 403
        assert (await place.get("/v1/apps/payments"))[1]["consumers"] == []
        assert (await ask(place, f"GET {TOKEN}"))[0] == 200
        await place.advance(5)
        assert (await place.get(TOKEN))[0] == 200
        consumers = (await place.get("/v1/apps/payments"))[1]["consumers"]
        assert [(one["uid"], one["unit"]) for one in consumers] == [(0, None), (1234, None)]
        assert consumers[0]["asked_at"] > consumers[1]["asked_at"]
