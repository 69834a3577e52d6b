"""What refresherd promises, as invariants that are checked while a simulated host runs.

Nothing here raises, since an exception in an app's tasks counts as their bug and is survived: each
broken promise is a line in `broken`. A trouble excuses only the apps that it concerns, and only for
as long as their recovery may take, which follows from their timing.
"""

from collections import defaultdict
from collections.abc import Iterable
from math import inf

from refresherd.domain.events import (
    AppCrashed,
    AttemptBegan,
    Event,
    Renewed,
    TokenExpired,
)
from refresherd.domain.model import App, Instant, Method, Timing, Token
from refresherd.domain.session_state import valid_token
from refresherd.domain.timing import LATEST_RENEWAL, NO_TOKEN_RETRY_AFTER, outage_budget
from refresherd.engine.ports import Roster
from refresherd.engine.session_termination import MAX_PENDING
from simulations.model_dsm import SLOW, ModelDsm
from simulations.troubles import AT_OUTPUTS, Kind, Trouble

TIMEOUT = 20.0

CRASHED = 65.0
"""Seconds within which an app that has crashed, however often, is started again."""

OUTPUTS = 32.0
"""Seconds. An output that hangs is given up after 10, and one that fails is tried every 10."""

PROMPT = 0.1
"""Seconds that an attempt may be late; AFTER_JUMP after a suspend or a step of the clock."""

AFTER_JUMP = 2.0

SLACK = 2.0
"""Seconds for small delays: reading a key, a heartbeat, a few answers."""

AT_DSM = frozenset(
    (Kind.REFUSED, Kind.HANGS, Kind.LOST, Kind.SLOW, Kind.BROKEN, Kind.THROTTLED, Kind.FORBIDDEN)
)


def recovery(timing: Timing, trouble: Trouble) -> float:
    """Return the time within which an app without a token gets one."""
    base = TIMEOUT + timing.retry_max + 2 * SLOW + SLACK
    extra = {
        Kind.THROTTLED: NO_TOKEN_RETRY_AFTER,
        Kind.FORBIDDEN: timing.rejected_retry,
        Kind.BUG: CRASHED,
        Kind.FULL: OUTPUTS - base,
        Kind.STUCK: OUTPUTS - base,
        Kind.ENDLESS: -inf,
        Kind.STEPPED: -inf,
        Kind.HASTENED: -inf,
    }
    return base + extra.get(trouble.kind, 0.0)


def respite(timing: Timing, latency: float, trouble: Trouble) -> float:
    """Return the time within which an app with a valid token renews it, if it lives that long.

    Such an app waits, or hangs, for at most half of what the token has left.
    """
    if trouble.kind in (Kind.BUG, Kind.TINY, Kind.STARTED, Kind.LOGGED_OUT, Kind.SLOW):
        return recovery(timing, trouble)
    if trouble.kind in (Kind.FULL, Kind.STUCK, Kind.ENDLESS, Kind.STEPPED, Kind.HASTENED):
        return -inf
    if trouble.kind is Kind.FORBIDDEN and timing.renew is Method.AUTH:
        return recovery(timing, trouble)
    return 4 * timing.retry_min + 8 * latency + 10


class Promises:
    """Observes the apps and checks what they hand out: an Observer."""

    def __init__(self, dsm: ModelDsm) -> None:
        self.broken: list[str] = []
        self.roster: Roster
        self._dsm = dsm
        self._apps: dict[str, App] = {}
        self._leaving: set[str] = set()
        self._newest: dict[str, Token] = {}
        self._generations: dict[str, int] = {}
        self._notified: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        """From when on a replaced session may be, and has to be, ended; by its token."""
        self._replaced: dict[str, float] = {}
        self._floors: dict[str, float] = defaultdict(lambda: inf)

    def keep(self, app: App) -> None:
        """Record that an app runs, under these settings from now on."""
        self._apps[app.name] = app
        timing = app.timing
        soonest = (timing.at - timing.jitter) * self._dsm.habits.lifetime
        self._floors[app.name] = min(self._floors[app.name], timing.retry_min, soonest)

    def leave(self, apps: Iterable[str]) -> None:
        """Record that sessions are ended because their apps are removed."""
        self._leaving.update(token for app in apps for token in self._dsm.living(app))

    def orphan(self, app: str) -> None:
        """Record that an app's sessions are left to idle out, and that it starts over."""
        for token in self._dsm.living(app):
            self._dsm.sessions[token].heard = False
        for facts in (self._newest, self._generations, self._notified):
            facts.pop(app, None)

    def observe(self, event: Event) -> None:
        """Check an event."""
        match event:
            case AppCrashed():
                if not self._dsm.troubles.since(event.app, self._now - 1, Kind.BUG):
                    self._break(event.app, f"crashed: {event.error!r}")
            case AttemptBegan():
                self._began(event)
            case TokenExpired():
                self._expired(event)
            case Renewed():
                self._renewed(event)
            case _:
                pass

    def put(self, app: str, token: Token, newer_than: int) -> None:
        """Check what an output is given."""
        if token.expires_at <= self._now:
            self._break(app, "an output is given an expired token")
        if token.generation < newer_than:
            self._break(app, "an output is given an older token")

    def hook(self, app: str, generation: int, files: list[Token | None]) -> None:
        """Check when hooks are run."""
        if generation <= self._notified.get(app, 0):
            self._break(app, f"hooks are run for generation {generation} again")
        self._notified[app] = generation
        if any(held is None or held.generation < generation for held in files):
            self._break(app, "hooks are run before the outputs hold the token")

    def handed(self, app: str, token: Token, min_ttl: float) -> None:
        """Check what is handed out on request, and use it."""
        if token.expires_at - self._now < min_ttl or token.expires_at <= self._now:
            self._break(app, "a token is handed out that is not valid for long enough")
        self._use(app, token)

    def read(self, app: App, held: Token | None) -> None:
        """Check what an output holds."""
        now, name = self._now, app.name
        well = not self._excused(app)
        if held is not None and held.expires_at > now:
            self._use(name, held)
        elif well:
            self._break(name, "an output holds no valid token")
        status = self.roster.status(name)
        if well and status is not None and held != status.session.token:
            self._break(name, "an output does not hold the newest token")

    def hold(self, app: App) -> None:
        """Check an app's status and sessions."""
        status, name = self.roster.status(app.name), app.name
        if status is None or name not in self._apps:
            return
        token = valid_token(status.session, self._now)
        if token is None and not self._excused(app):
            self._break(name, f"has no token: {status.session}")
        if token is not None:
            self._noticed(app, token)
            self._renewable(app, token)
        for living in self._dsm.living(name):
            self._ended(app, living, token)

    def end(self, token: str) -> None:
        """Check the end of a session."""
        session = self._dsm.sessions[token]
        last = session.began + session.lifetime - min(1.0, 0.05 * session.lifetime)
        due = min(self._ends.get(token, inf), last - 1e-6)
        if self._now >= due or token in self._leaving or not self._dsm.lives(token):
            return
        others = [one for one in self._ends if self._dsm.sessions[one].app == session.app]
        if len(others) < MAX_PENDING:
            self._break(session.app, f"the session of {token} is ended within its grace")

    def finish(self) -> None:
        """Check all requests to DSM."""
        for app, requests in self._dsm.requests.items():
            floor = self._floors[app]
            if self._dsm.troubles.of(app, Kind.TINY):
                floor = min(floor, 0.5)
            attempts = [r.at for r in requests if r.name in ("login", "reauth")]
            # A renewal of a lost session, and the login that follows at once.
            self._spaced(app, attempts, 2, floor, "attempts")
            keepalives = [r.at for r in requests if r.name == "keep_alive"]
            self._spaced(app, keepalives, 2, floor, "keep-alives")
        for app, refusals in self._dsm.refusals.items():
            wait = min(kept.timing.rejected_retry for kept in self._apps.values())
            self._spaced(app, refusals, 1, wait, "refused logins")

    @property
    def _now(self) -> Instant:
        return Instant(self._dsm.now())

    def _break(self, app: str, breach: str) -> None:
        self.broken.append(f"{self._now:.3f} {app}: {breach}")

    def _excused(self, app: App) -> bool:
        """Return whether an app may still be recovering."""
        return self._dsm.troubles.excuse(app.name, lambda one: recovery(app.timing, one))

    def _use(self, app: str, token: Token) -> None:
        """Use a token as a consumer: DSM accepts it, unless somebody else ended its session."""
        revealed = token.access_token.reveal()
        if self._dsm.lives(revealed):
            self._dsm.use(revealed)
        elif not self._dsm.sessions[revealed].by_others:
            self._break(app, f"consumers hold {revealed}, which is dead")

    def _began(self, event: AttemptBegan) -> None:
        troubles, now = self._dsm.troubles, self._now
        jumped = troubles.since(
            event.app, now - AFTER_JUMP, Kind.SUSPENDED, Kind.STEPPED, Kind.STARTED
        )
        crashed = troubles.since(event.app, now - CRASHED, Kind.BUG)
        # A check may be under way, and an answer may come after its token is due again.
        waits = self._apps[event.app].timing.session_check is not None
        waits |= troubles.since(event.app, now - SLOW, Kind.SLOW)
        prompt = PROMPT + (TIMEOUT if waits else self._dsm.habits.latency)
        if event.delay > prompt and not jumped and not crashed:
            self._break(event.app, f"an attempt is {event.delay:.3f} s late")

    def _expired(self, event: TokenExpired) -> None:
        app = self._apps[event.app]
        latency, token = self._dsm.habits.latency, self._newest.get(event.app)
        if token is not None and outage_budget(token.lifetime, app.timing) < latency + PROMPT:
            return  # no answer comes within such a budget
        if not self._dsm.troubles.excuse(event.app, lambda one: respite(app.timing, latency, one)):
            self._break(event.app, f"token {event.generation} expired although DSM answers")

    def _renewed(self, event: Renewed) -> None:
        app, before = event.app, self._newest.get(event.app)
        status = self.roster.status(app)
        if status is None or status.session.token is None:
            return
        token = status.session.token
        last = self._generations.get(app, 0)
        if event.generation <= last - (event.method is Method.KEEPALIVE):
            self._break(app, f"generation {event.generation} follows {last}")
        self._generations[app], self._newest[app] = event.generation, token
        grace = self._apps[app].timing.terminate_after
        if before is not None and before.access_token != token.access_token:
            revealed = before.access_token.reveal()
            self._replaced[revealed] = self._now
            # One that has expired by our count ends by itself, though DSM may count otherwise.
            stays = grace is None or before.expires_at <= self._now
            self._ends[revealed] = inf if stays else self._now + (grace or 0.0) - 1e-6

    def _noticed(self, app: App, token: Token) -> None:
        """Check that the end of a session by somebody else is noticed."""
        session = self._dsm.sessions[token.access_token.reveal()]
        check = app.timing.session_check
        if check is None or not session.by_others:
            return
        kinds = AT_DSM | AT_OUTPUTS | {Kind.SUSPENDED, Kind.STARTED}
        late = self._now > session.ended_at + check + SLACK + SLOW
        if late and not self._dsm.troubles.since(app.name, session.ended_at, *kinds):
            self._break(app.name, "a session that was ended is not noticed")

    def _renewable(self, app: App, token: Token) -> None:
        """Check that a session that was granted for years is renewed all the same."""
        since = token.expires_at - token.lifetime
        if self._now > since + LATEST_RENEWAL + SLACK and not self._excused(app):
            self._break(app.name, f"generation {token.generation} was renewed days ago")

    def _ended(self, app: App, living: str, token: Token | None) -> None:
        """Check that a replaced session has been ended in time."""
        session, since = self._dsm.sessions[living], self._replaced.get(living)
        if not session.heard or since is None or (token and token.access_token.reveal() == living):
            return
        late = self._now > self._ends[living] + SLACK + SLOW
        kinds = AT_DSM | AT_OUTPUTS | {Kind.SUSPENDED, Kind.STARTED}
        if late and not self._dsm.troubles.since(app.name, since, *kinds):
            self._break(app.name, f"the session of {living} is not ended")

    def _spaced(self, app: str, instants: list[float], apart: int, floor: float, kind: str) -> None:
        kinds = (Kind.STARTED, Kind.HASTENED, Kind.WRONG_KEY, Kind.BUG)
        excuses = self._dsm.troubles.of(app, *kinds)
        for first, last in zip(instants, instants[apart:], strict=False):
            near = any(_falls(one, first - SLACK, last) for one in excuses)
            if last - first < floor - 1e-6 and not near:
                self._break(app, f"{kind} from {first:.3f} to {last:.3f}")


def _falls(trouble: Trouble, first: float, last: float) -> bool:
    """Return whether attempts between two instants may be closer together.

    Something was changed then; or the app crashed, and they are as far apart as its restarts.
    """
    if trouble.kind is Kind.BUG:
        return trouble.start <= last and first <= trouble.end
    return any(first <= at <= last for at in (trouble.start, trouble.end))
