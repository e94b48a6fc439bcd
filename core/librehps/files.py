"""Names of files as text."""


def printable(text: object) -> str:
    """Undecodable bytes of a file's name as %XX, so that every output is valid UTF-8.

    What is no text, as a prompt or a group may be that is an error, is shown as Python shows it.
    """
    return (
        "".join(f"%{ord(c) - 0xDC00:02X}" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in str(text))
        .encode(errors="replace")
        .decode()
    )
