"""aiohttp, kept from reading the system's CAs as it is imported: twice 140 certificates.

It makes two SSL contexts of its own then, at a cost of 40 ms and 2 MiB, which are never
used here: each trust has a context of ours. OpenSSL looks for the system's CAs where
SSL_CERT_FILE points (SSL_CTX_set_default_verify_paths(3)). What is imported first counts,
so this is to be imported before anything that imports aiohttp.
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
