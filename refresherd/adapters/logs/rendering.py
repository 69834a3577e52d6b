"""How a line looks: JSON for machines, columns for people."""

import msgspec

from refresherd.adapters.logs.without_rich import structlog

Fields = structlog.typing.EventDict
Logger = structlog.typing.WrappedLogger

EVENT_WIDTH = 18

_dev = structlog.dev

LEVEL_COLORS = {
    "debug": _dev.DIM,
    "info": _dev.GREEN,
    "warning": _dev.YELLOW,
    "error": _dev.RED,
}

CONTROLS = {code: ascii(chr(code))[1:-1] for code in range(0x20)}
"""What breaks lines, moves a terminal's cursor or colours it, made visible."""

INDENT = "\n    "


class JsonLines:
    """Renders one object a line."""

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder()

    def __call__(self, _: Logger, __: str, fields: Fields) -> bytes:
        """Return the line."""
        return self._encoder.encode(fields) + b"\n"


class Console:
    """Renders a line that no value can break or forge; a traceback follows indented."""

    def __init__(self, *, colors: bool) -> None:
        self._renderer = _dev.ConsoleRenderer(columns=_columns(colors=colors), sort_keys=False)

    def __call__(self, logger: Logger, level: str, fields: Fields) -> bytes:
        """Return the line."""
        visible = {
            name: value.translate(CONTROLS) if isinstance(value, str) else value
            for name, value in fields.items()
        }
        if "exception" in fields:
            lines = fields["exception"].split("\n")
            visible["exception"] = INDENT[1:] + INDENT.join(
                line.translate(CONTROLS) for line in lines
            )
        return (self._renderer(logger, level, visible) + "\n").encode()


def _columns(*, colors: bool) -> list[structlog.dev.Column]:
    def style(color: str) -> str:
        return color if colors else ""

    def column(key: str, color: str, width: int = 0) -> structlog.dev.Column:
        formatter = _dev.KeyValueColumnFormatter(
            None, style(color), style(_dev.RESET_ALL), str, width
        )
        return _dev.Column(key, formatter)

    levels = {level: style(color) for level, color in LEVEL_COLORS.items()}
    others = _dev.KeyValueColumnFormatter(
        style(_dev.CYAN), "", style(_dev.RESET_ALL), value_repr=_quoted
    )
    return [
        column("ts", _dev.DIM),
        _dev.Column("level", _dev.LogLevelColumnFormatter(levels, style(_dev.RESET_ALL))),
        column("event", _dev.BRIGHT, EVENT_WIDTH),
        _dev.Column("", others),
    ]


def _quoted(value: object) -> str:
    text = str(value)
    if any(character in text for character in ' ="'):
        return '"' + text.replace('"', '\\"') + '"'
    return text
