"""The HTML report of scored rows: images, tables and plots."""
