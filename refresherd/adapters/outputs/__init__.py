"""Where consumers find a token: files and sockets, which show whole tokens only."""
