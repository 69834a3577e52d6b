"""Takes credentials out of texts before anybody reads them: known ones, and what looks like one.

One threshold decides what looks like a credential, for logs, errors, answers and configuration.
"""

import json
import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from contextlib import suppress
from urllib.parse import quote

from refresherd.domain.model import B64TOKEN

MASK = "***"

SHORTEST = 8
"""A shorter part of a credential is left alone: it occurs in ordinary words."""

SECRET_LENGTH = 40
"""A run of this many characters may be a credential.

UUIDs (36) and so most request ids stay readable. DSM's tokens are 86 characters of base64url; its
API keys are base64 of a UUID, a colon and a secret: 52 characters at the very least.
"""

LONGEST_NAME = 40
"""A file's name, in an absolute path, if it has upper case, lower case and digits."""

LONGEST_PLAIN_NAME = 57
"""A file's name that lacks one of these, such as a Nix store path."""

_RUN = rf"[A-Za-z0-9+/_=-]{{{SECRET_LENGTH},}}"
_RUN_WITHOUT_SLASH = re.compile(rf"[A-Za-z0-9+_=-]{{{SECRET_LENGTH},}}")
_CREDENTIAL = re.compile(
    rf"(?P<scheme>\b(?i:bearer|basic)\s+){B64TOKEN.pattern}|(?P<authority>://)[^/\s]*@|(?P<run>{_RUN})"
)
_PASSWORD = re.compile("://[^/]*:[^/]*@")
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])")
_LAST_WORD = re.compile(r"[A-Za-z0-9+/_=.~%&#;-]*\Z")
"""The word at the end of a text. A credential may be written in HTML entities."""


def redact(text: str) -> str:
    """Return the daemon's own text, with `***` for whatever may be a credential.

    Paths of files stay, as far as their parts are too short for a credential.
    """
    if len(text) < SECRET_LENGTH:
        # Tells in a fraction of the pattern's time whether a short text has anything to redact.
        lowered = text.lower()
        if not ("bearer" in lowered or "basic" in lowered or "@" in text):
            return text
    return _CREDENTIAL.sub(
        lambda found: found[0] if _is_path(found["run"] or "") else _mask(found), text
    )


def redact_quoted(text: str, secret: str) -> str:
    """Return a text from elsewhere, such as DSM's or a command's, without any credential.

    `secret` is masked in every encoding; so is the password of an API key, which is a credential
    of its own. Long paths are masked too: nobody has to find a file by such a text.
    """
    for spelling in _spellings(secret):
        text = text.replace(spelling, MASK)
    return _CREDENTIAL.sub(_mask, text)


def holds_secret(text: str) -> bool:
    """Return whether a name or value of the configuration may hold a credential.

    An API key or a token that was pasted into the wrong place, or a password in a URL. Names are
    to be read: a long one passes unless it has all kinds of letters, as base64 has. An API key's
    first 48 characters, the UUID's, hold no slash, and neither does a token.
    """
    return _PASSWORD.search(text) is not None or any(
        map(_MIXED.match, _RUN_WITHOUT_SLASH.findall(text))
    )


def truncate(text: str, length: int) -> str:
    """Return a text's first characters, without the last word if the cut goes through it.

    Half a credential would be too short to be recognised.
    """
    return text if len(text) <= length else _LAST_WORD.sub("", text[:length])


def _mask(found: re.Match[str]) -> str:
    if found["scheme"]:
        return found["scheme"] + MASK
    if found["authority"]:
        return found["authority"] + MASK + "@"
    return MASK


def _is_path(run: str) -> bool:
    """Return whether a run is divided like a path; base64 of that length has all kinds of letters.

    DSM's tokens and API keys have no slash: base64 of a UUID and of ASCII letters has none.
    """
    longest = max(map(len, run.split("/")))
    if _MIXED.match(run):
        return run.startswith("/") and longest <= LONGEST_NAME
    return "/" in run and longest <= LONGEST_PLAIN_NAME


def _spellings(secret: str) -> list[str]:
    """Return how a text may spell a secret or a part of it, the longest first.

    The parts of an API key are what it decodes to, and the password in that (RFC 7617).
    """
    parts = {secret}
    with suppress(ValueError):
        standard = secret.replace("-", "+").replace("_", "/")
        whole = b64decode(standard + "=" * (-len(standard) % 4), validate=True).decode()
        password = whole.partition(":")[2]
        if len(password) >= SHORTEST:
            parts |= {whole, password}
    spellings = set(parts)
    for part in parts:
        if len(part) >= SHORTEST:
            raw = part.encode(errors="replace")
            encoded = (
                encode(raw).decode().rstrip("=") for encode in (b64encode, urlsafe_b64encode)
            )
            spellings.update(encoded, (part.rstrip("="), quote(part, safe="", errors="replace")))
            spellings.update((raw.hex(), raw.hex().upper()))
            spellings.update(
                json.dumps(part, ensure_ascii=escape)[1:-1] for escape in (True, False)
            )
    return sorted(spellings - {""}, key=len, reverse=True)
