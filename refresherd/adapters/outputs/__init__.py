"""Where consumers find a token: outputs that are replaced whole, or not at all."""
