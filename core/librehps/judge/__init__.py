"""A local page on which people judge pairs of media."""
