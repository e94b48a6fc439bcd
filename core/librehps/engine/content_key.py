"""Keys of scores: media and prompt of which a score is known, for one process."""

from binascii import unhexlify
from collections.abc import Sequence
from hashlib import blake2b, sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from librehps.key_index import KEY_BYTES

HASH_DIGITS = 2 * sha256().digest_size
# An odd number, which spreads the bits of a hash over a word.
_ODD = np.uint64(0x9E3779B97F4A7C15)


def content_key(kind: str, sha256: str, prompt: str | None) -> bytes:
    """Return the key of media with this hash, scored as `kind` under the prompt."""
    return content_keys([kind], [sha256], [prompt])[0]


def content_keys(
    kinds: Sequence[str], hashes: Sequence[str], prompts: Sequence[str | None]
) -> list[bytes]:
    """Return the key of each of some media, many times faster than one at a time.

    A key is made of 128 bits of the content's hash and 64 bits of Python's hash of kind and prompt.
    """
    if not hashes:
        return []
    texts: Any = prompts
    if None in prompts:
        texts = [prompt or "" for prompt in prompts]
    asked = np.fromiter(map(hash, texts), np.int64, len(texts)).view(np.uint64)
    # Not both hashes alike: a prompt may be the name of a kind.
    asked += _ODD * np.fromiter(map(hash, kinds), np.int64, len(kinds)).view(np.uint64)
    keys = _words(hashes)
    keys[:, 0] ^= asked
    keys[:, 1] ^= asked * _ODD
    found: list[bytes] = keys.view(f"V{KEY_BYTES}").ravel().tolist()
    return found


def _words(hashes: Sequence[str]) -> NDArray[np.uint64]:
    """Return the two words of a key that come of each hash, which a file may have damaged."""
    try:
        if set(map(len, hashes)) == {HASH_DIGITS}:
            digests = unhexlify("".join(hashes))
            return np.frombuffer(digests, np.uint64).reshape(len(hashes), -1)[:, :2].copy()
    except ValueError:
        pass
    if len(hashes) > 1:
        return np.concatenate([_words([one]) for one in hashes])
    text = hashes[0].encode(errors="surrogatepass")
    return np.frombuffer(blake2b(text, digest_size=KEY_BYTES).digest(), np.uint64)[None].copy()
