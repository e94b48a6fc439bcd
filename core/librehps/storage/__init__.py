"""Reading of local paths and URLs, the one place where drivers' errors are translated.

`store` has the functions that other rooms call.
"""
