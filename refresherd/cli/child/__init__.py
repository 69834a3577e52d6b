"""What `exec` runs: a program with a token in its environment, kept up to date."""
