"""The demo: an emulated DSM, the daemon as it runs in production, and a live view of both.

The view knows of the daemon only what its API socket tells any client.
"""
