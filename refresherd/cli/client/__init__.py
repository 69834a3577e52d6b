"""What commands ask the running daemon, and what they make of its answers."""
