"""Why attempts fail, as operators are told: the values of the `reason` label, to be combined."""

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
