"""Ratings of 1 to 5 in XMP, the metadata that picture tools read: sidecars, or inside pictures."""
