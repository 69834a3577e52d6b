"""State that outlives a restart: sessions and refused logins."""
