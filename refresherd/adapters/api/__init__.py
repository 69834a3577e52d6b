"""The API socket: tokens and status over HTTP, for clients that the kernel identifies."""
