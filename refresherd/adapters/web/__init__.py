"""The HTTP listener on TCP: metrics, liveness and readiness, never a token."""
