"""Answers too long to keep a copy for each client that reads slowly."""

import asyncio
from collections.abc import Iterable, Mapping

from refresherd.domain.negotiation import prefers_gzip
from refresherd.host.http.answers import Answer
from refresherd.host.http.requests import Request
from refresherd.host.shared_rendering import CompressedText
from refresherd.host.stream import Stream


class LongAnswer(Answer):
    """An answer to one request, made of a text that other clients get as well.

    Its parts are made as the client reads them.
    """

    __slots__ = ("_parts",)

    def __init__(
        self,
        request: Request,
        status: int,
        text: CompressedText,
        content_type: str,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        """Compress the answer if the client prefers that; `fields` may say what else it varies by.

        `Vary` is Accept-Encoding unless they do.
        """
        fields = {"Vary": "Accept-Encoding", **(fields or {})}
        gzip = prefers_gzip(request.field("accept-encoding"))
        if gzip:
            fields["Content-Encoding"] = "gzip"
        super().__init__(status, b"", content_type, fields)
        length = text.compressed_length if gzip else text.length
        self._tail = b"Content-Length: %d\r\n\r\n" % length, b""
        self._parts: Iterable[bytes] = ()
        if request.method != "HEAD":
            self._parts = text.compressed() if gzip else text.plain()

    async def send(self, stream: Stream) -> None:
        """Send what follows `to_bytes`, as fast as the client reads it.

        Raises ConnectionError if the connection is closed before all is sent.
        """
        for part in self._parts:
            await stream.drained()
            stream.write(part)
            # The kernel's buffers may take megabytes at once, from hundreds of clients.
            await asyncio.sleep(0)
        await stream.drained()
