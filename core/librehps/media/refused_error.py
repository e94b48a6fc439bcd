"""The error that the decoder process sends to its parent."""


class RefusedError(Exception):
    """Error that the parent raises: (name of the class in librehps.errors, message)."""
