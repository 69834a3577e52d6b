"""systemd: takes the sockets that it passes, reports the daemon's state, pings its watchdog."""
