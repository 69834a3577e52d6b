"""The commands' client for the daemon's API socket."""
