"""The short times with which the suite's daemons run, in seconds."""

RETRY_MIN = 0.2
RETRY_MAX = 1.0
REJECTED_RETRY = 2.0
TERMINATE_AFTER = 1.0
TIMEOUT = 2.0

LIFETIME = 12
"""Long enough for a retry before the session ends, even on a loaded machine."""

RECOVERY = LIFETIME / 2 + TIMEOUT + RETRY_MAX + 6.0
"""The longest recovery: a hanging attempt and the wait after it, or the next regular refresh if
nothing failed, and a few seconds for a busy machine."""

HEAD = f"""
[api]
path = "api.sock"
[log]
format = "json"
[dsm]
timeout = "{TIMEOUT}s"
[refresh]
retry_min = "{RETRY_MIN}s"
retry_max = "{RETRY_MAX}s"
rejected_retry = "{REJECTED_RETRY}s"
terminate_after = "{TERMINATE_AFTER}s"
"""
