"""Imports aiohttp without the system's CA certificates, which aiohttp would read twice.

aiohttp makes two SSL contexts when it is imported, each with 140 certificates: 40 ms and
2 MiB. refresherd uses neither, because `tls` makes a context for each endpoint. OpenSSL reads
the system's CAs from $SSL_CERT_FILE (SSL_CTX_set_default_verify_paths(3)), so this module
points it to an empty file during the import. Import it before any module that imports aiohttp.
"""

import os

_VARIABLE = "SSL_CERT_FILE"

_configured = os.environ.get(_VARIABLE)
os.environ[_VARIABLE] = os.devnull
try:
    import aiohttp
finally:
    if _configured is None:
        del os.environ[_VARIABLE]
    else:
        os.environ[_VARIABLE] = _configured

__all__ = ["aiohttp"]
