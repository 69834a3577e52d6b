"""The values of the `reason` label, as sets that can be combined."""

CONNECT = frozenset({"connect"})
TLS = frozenset({"tls"})
TIMEOUT = frozenset({"timeout"})
THROTTLED = frozenset({"throttled"})
SERVER_ERROR = frozenset({"server_error"})
BAD_RESPONSE = frozenset({"bad_response"})
MFA_REQUIRED = frozenset({"mfa_required"})
SESSION_LOST = frozenset({"session_lost"})
REJECTED = frozenset({"rejected"})
CREDENTIAL = frozenset({"credential"})
