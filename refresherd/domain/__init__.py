"""Pure decisions and the values they are about: no clock, no randomness, no files, no network."""
