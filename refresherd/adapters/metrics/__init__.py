"""What is counted of the daemon, and how Prometheus reads it."""

from refresherd.adapters.metrics.exposition import Exposition
from refresherd.adapters.metrics.observer import Metrics

__all__ = ["Exposition", "Metrics"]
