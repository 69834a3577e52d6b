"""An API key in the environment."""

import os
from collections.abc import Mapping

from refresherd.adapters.credentials.parse import api_key, unreadable
from refresherd.domain.model import Secret


class EnvSource:
    """An environment variable, which only a restart changes."""

    def __init__(self, variable: str, environ: Mapping[str, str]) -> None:
        self._variable = variable
        self._environ = environ
        self._entity_id = ""

    @property
    def entity_id(self) -> str:
        """The app's UUID as the key last read names it, "" before."""
        return self._entity_id

    async def read(self) -> Secret:
        """Return the API key. Raises Retryable."""
        where = f"environment variable {self._variable}"
        if self._variable not in self._environ:
            raise unreadable(where, "not set")
        parsed = api_key(os.fsencode(self._environ[self._variable]), where)
        self._entity_id = parsed.entity_id
        return parsed.secret

    async def stamp(self) -> None:
        """Return None: it does not change."""
