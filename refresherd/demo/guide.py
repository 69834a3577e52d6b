"""What a newcomer is told before the demo begins: where things are, and lines to try."""

from collections.abc import Iterator
from dataclasses import dataclass
from shlex import quote

from refresherd.demo.place import Place
from refresherd.demo.wording import plural, span

INDENT = "  "


@dataclass(frozen=True, slots=True)
class Command:
    """A line to copy into another terminal, in words that stay together."""

    purpose: str
    words: tuple[str, ...]

    def lines(self, width: int | None) -> Iterator[str]:
        """Yield the command, folded for a shell to that width; in one line for None."""
        current = INDENT + self.words[0]
        for word in self.words[1:]:
            if width is not None and len(current) + len(word) + len("  \\") > width:
                yield f"{current} \\"
                current = INDENT * 2 + word
            else:
                current += f" {word}"
        yield current


@dataclass(frozen=True, slots=True)
class Guide:
    """The demo's place and its apps; `lifetime` of tokens in seconds."""

    place: Place
    apps: tuple[str, ...]
    lifetime: float

    def text(self, width: int | None = None) -> str:
        """Return the guide, its commands folded to that width, or each in one line for None."""
        return "\n".join(self._lines(width))

    def _lines(self, width: int | None) -> Iterator[str]:
        yield f"refresherd keeps {plural(len(self.apps), 'app')} of an emulated DSM;"
        yield f"each token lives {span(self.lifetime)} and is replaced about half-way."
        yield ""
        yield f"endpoint:      {self.place.endpoint}"
        yield f"configuration: {self.place.config}"
        yield f"daemon's log:  {self.place.log}"
        yield ""
        yield "Be a consumer, in another terminal:"
        for command in self.consumers():
            yield f"# {command.purpose}"
            yield from command.lines(width)
        yield ""
        yield "Break it, and see it recover:"
        for command in self.troubles():
            yield f"# {command.purpose}"
            yield from command.lines(width)

    def consumers(self) -> tuple[Command, ...]:
        """Return the ways to use a token."""
        place, app = self.place, self.apps[0]
        ca_file = quote(str(place.ca_file))
        header, token, client = (
            quote(str(place.file(app, form))) for form in ("header", "raw", "sdkms-cli")
        )
        return (
            Command(
                "list keys with the token that the file holds now",
                (f"curl --cacert {ca_file}", f"-H @{header}", f"{place.endpoint}/crypto/v1/keys"),
            ),
            Command(
                "the same with Fortanix's own client (pip install sdkms-cli)",
                (
                    f"SDKMS_CLI_TOKEN_FILE={client}",
                    f"FORTANIX_API_ENDPOINT={place.endpoint}",
                    f"sdkms-cli --ssl-ca-cert {ca_file}",
                    "list-keys",
                ),
            ),
            Command("see the token change", (f"watch -n1 cat {token}",)),
            Command(
                "what Prometheus sees", (f"curl -s {place.metrics}", f"| grep 'app=\"{app}\"'")
            ),
        )

    def troubles(self) -> tuple[Command, ...]:
        """Return the ways to break things."""
        curl = f"curl --cacert {quote(str(self.place.ca_file))}"
        control = f"{self.place.endpoint}/control"
        fault = f'{{"app": "{self.apps[0]}", "operation": "reauth", "status": 503, "times": 2}}'
        return (
            Command(
                f"DSM fails {self.apps[0]} twice: retried, while its consumers have a good token",
                (curl, f"{control}/faults", f"-d '{fault}'"),
            ),
            Command(
                "every session is ended: refused until the next refresh, which logs in anew",
                (curl, f"{control}/sessions/end", "-d '{}'"),
            ),
        )
