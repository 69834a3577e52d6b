"""DSM over HTTP: the SessionClient of each app.

Import this package before anything else that imports aiohttp. aiohttp makes two SSL contexts when
it is imported, each with the system's 140 CA certificates: 40 ms and 2 MiB. refresherd uses
neither, because `tls` makes a context for each endpoint. OpenSSL reads the system's CAs from
$SSL_CERT_FILE (SSL_CTX_set_default_verify_paths(3)), which names an empty file meanwhile.
"""

import os

_VARIABLE = "SSL_CERT_FILE"

_configured = os.environ.get(_VARIABLE)
os.environ[_VARIABLE] = os.devnull
try:
    import aiohttp  # noqa: F401  # for its effects
finally:
    if _configured is None:
        del os.environ[_VARIABLE]
    else:
        os.environ[_VARIABLE] = _configured
