"""The composition root: assembles the parts, starts, reloads and stops them."""
