"""Names within the length that an engine allows."""

from __future__ import annotations

import hashlib

POSTGRES_BYTES = 63
"""What PostgreSQL keeps of a name; it cuts the rest off without an error."""

_DIGITS = 10


def truncate_identifier(name: str, most: int = POSTGRES_BYTES) -> str:
    """Return a name of at most `most` bytes: itself if it fits, else its beginning and a digest of all of it."""
    encoded = name.encode()
    if len(encoded) <= most:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGITS]
    return f"{encoded[: most - _DIGITS - 1].decode(errors='ignore')}_{digest}"
