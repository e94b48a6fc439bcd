"""Keys of scores: media and prompt of which a score is known."""

from hashlib import blake2b

from librehps.key_index import KEY_BYTES

_EMPTY = blake2b(digest_size=KEY_BYTES)


def content_key(kind: str, sha256: str, prompt: str | None, settings: str | None = None) -> bytes:
    """Return the cache key of media with this hash, scored as `kind` under the prompt.

    `settings`: the digest of the settings, for a cache that models share.
    """
    text = f"{kind}\0{sha256}\0{prompt or ''}"
    if settings is not None:
        text = f"{settings}\0{text}"
    # A copy is made faster than a new one.
    digest = _EMPTY.copy()
    digest.update(text.encode())
    return digest.digest()
