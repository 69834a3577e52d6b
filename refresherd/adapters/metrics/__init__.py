"""The daemon's metrics: counters, and the text in which Prometheus reads them."""
