"""What is counted of the daemon, and how Prometheus reads it."""

from refresherd.metrics.exposition import Exposition
from refresherd.metrics.observer import Metrics

__all__ = ["Exposition", "Metrics"]
