"""What outlives a restart: sessions and refused logins."""
