"""Where consumers find a token: files and Unix sockets, which hold or send whole tokens only."""
