"""The composition root: puts the parts together, starts, reloads and stops them."""
