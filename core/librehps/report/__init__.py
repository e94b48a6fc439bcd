"""One HTML page of scored rows: pictures, figures and plots."""
