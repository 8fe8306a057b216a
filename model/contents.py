"""What pages may contain: every content has a number, and zeros have number 0."""

import hashlib


def page_digest(content: bytes) -> str:
    """Return the digest of a page that traces carry: BLAKE2b of 8 bytes, as 16 hex digits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


class Contents:
    """All contents that were ever seen, by number. Some are known by their digest only."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self._numbers: dict[bytes, int] = {}
        self._by_digest: dict[str, int] = {}
        self._contents: list[bytes | None] = []
        self._digests: list[str] = []
        self.number(bytes(page_size))

    def number(self, content: bytes) -> int:
        """Return the number of a page's content; ValueError if it is not a whole page."""
        if len(content) != self.page_size:
            raise ValueError(f"a page has {self.page_size} bytes, not {len(content)}")
        known = self._numbers.get(content)
        return self._add(content, page_digest(content)) if known is None else known

    def opaque(self, digest: str) -> int:
        """Return the number of a content that is given by its digest; its bytes may be unknown, as those of a page that was cut."""
        known = self._by_digest.get(digest)
        return self._add(None, digest) if known is None else known

    def _add(self, content: bytes | None, digest: str) -> int:
        number = len(self._contents)
        self._contents.append(content)
        self._digests.append(digest)
        self._by_digest[digest] = number
        if content is not None:
            self._numbers[content] = number
        return number

    def content(self, number: int) -> bytes | None:
        """Return the bytes with this number, or None if only their digest is known."""
        return self._contents[number]

    def digest(self, number: int) -> str:
        """Return the digest of the content with this number."""
        return self._digests[number]
