"""The body of DSM's answer to a login or a reauth."""

import re
from codecs import BOM_UTF8
from typing import Any

import msgspec

from refresherd.domain.model import B64TOKEN, UUID

LONGEST_TOKEN = 16 * 1024
"""In characters. DSM's have 86."""

LONGEST_LIFETIME = 4294967295
"""In seconds, by DSM's API description."""

ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Matches each escape in JSON; the group, one half of a surrogate pair without the other."""

JSON_TYPES = {
    "int | float": "a number",
    "int": "a number",
    "float": "a number",
    "str | null": "a string",
    "str": "a string",
    "bool": "true or false",
    "array | null": "a list",
    "array": "a list",
    "object": "an object",
}
"""What msgspec calls by Python's names."""


class AuthResponse(msgspec.Struct):
    """The schema of that name in DSM's API description, which says to ignore unknown fields."""

    token_type: str
    expires_in: int | float
    """JSON does not tell 600 from 600.0."""
    entity_id: str
    access_token: str | None = None
    allowed_mfa_methods: list[Any] | None = None
    challenge: Any = None
    fido2_assertion_options: Any = None

    def __repr__(self) -> str:
        # The decoder makes the token a plain string, not a Secret.
        return "AuthResponse()"

    @property
    def wants_second_factor(self) -> bool:
        """Whether the token is useless until a second factor is given."""
        challenges = self.challenge, self.fido2_assertion_options
        return bool(self.allowed_mfa_methods) or challenges != (None, None)

    def fault(self) -> str:
        """Return what makes the answer unusable, "" if it is usable."""
        token = self.access_token or ""
        requirements = (
            # RFC 6749, 5.1: case does not matter.
            (self.token_type.lower() == "bearer", "token_type is not Bearer"),
            (self.expires_in == self.expires_in // 1, "expires_in is not a whole number"),
            (self.expires_in >= 0, "expires_in is negative"),
            (self.expires_in > 0, "expires_in is 0"),
            (self.expires_in <= LONGEST_LIFETIME, f"expires_in is over {LONGEST_LIFETIME}"),
            (UUID.fullmatch(self.entity_id), "entity_id is not a UUID"),
            (token, "access_token is missing"),
            (len(token) <= LONGEST_TOKEN, f"access_token has over {LONGEST_TOKEN} characters"),
            (B64TOKEN.fullmatch(token), "access_token has characters that DSM's tokens never have"),
        )
        return next((f"the answer's {fault}" for met, fault in requirements if not met), "")


DECODER = msgspec.json.Decoder(AuthResponse)


def decode(body: bytes) -> AuthResponse:
    """Return the body's fields. Raises ValueError, whose text says what is wrong.

    It never quotes the body, which may hold a token.
    """
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        fault = _in_json_words(str(error))
    except msgspec.DecodeError as error:
        fault = str(error)
    except UnicodeDecodeError:
        fault = "it is not in UTF-8"
    except RecursionError:
        fault = "it is nested too deeply"
    raise ValueError(f"the answer is not a valid AuthResponse: {fault}")


def _decode(body: bytes) -> AuthResponse:
    try:
        return DECODER.decode(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # RFC 8259 allows what msgspec does not: to ignore a byte order mark (8.1), and half a
        # surrogate pair in a string (8.2), which stands for no character.
        lenient = ESCAPE.sub(_whole_character, body.removeprefix(BOM_UTF8))
        if lenient == body:
            raise
        return DECODER.decode(lenient)


def _whole_character(escape: "re.Match[bytes]") -> bytes:
    return b"\\ufffd" if escape[1] else escape[0]


def _in_json_words(text: str) -> str:
    """Return msgspec's text, `Expected `int`, got `str` - at `$.field``, for an operator."""
    text, _, place = text.partition(" - at ")
    text = re.sub("`([^`]*)`", lambda name: JSON_TYPES.get(name[1], name[1]), text)
    text = text[:1].lower() + text[1:]
    field = place.strip("`$.")
    return f"{field}: {text}" if field else text
