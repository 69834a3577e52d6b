"""The daemon's metrics: counters, and the text in which Prometheus reads them."""

from refresherd.adapters.metrics.exposition import Exposition
from refresherd.adapters.metrics.observer import Metrics

__all__ = ["Exposition", "Metrics"]
