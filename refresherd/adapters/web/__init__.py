"""The HTTP listener on TCP: metrics, liveness and readiness, never a token."""

from refresherd.adapters.web.listener import HttpListener

__all__ = ["HttpListener"]
