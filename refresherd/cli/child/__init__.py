"""Programs that `refresherd exec` runs as its children."""
