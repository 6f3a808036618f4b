"""A compact index from digests to numbers: 32 bytes an entry, where a dict takes two hundred."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator


class DigestIndex:
    """Numbers filed under 64-bit keys, several under one key if need be.

    Open addressing with linear probing. Keys are digests, so their low bits are their hash.
    """

    def __init__(self) -> None:
        self._keys = array("Q", bytes(8 * 1024))
        self._numbers = array("Q", bytes(8 * 1024))  # each one up: 0 marks a free slot
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def add(self, key: int, number: int) -> None:
        """File a number below 2^64 - 1 under a key."""
        if self._used * 2 >= len(self._keys):
            self._grow()
        self._put(key, number + 1)
        self._used += 1

    def find(self, key: int) -> Iterator[int]:
        """Yield the numbers under a key, in no particular order."""
        mask = len(self._keys) - 1
        slot = key & mask
        while number := self._numbers[slot]:
            if self._keys[slot] == key:
                yield number - 1
            slot = (slot + 1) & mask

    def _put(self, key: int, stored: int) -> None:
        mask = len(self._keys) - 1
        slot = key & mask
        while self._numbers[slot]:
            slot = (slot + 1) & mask
        self._keys[slot] = key
        self._numbers[slot] = stored

    def _grow(self) -> None:
        old = zip(self._keys, self._numbers, strict=True)
        size = 2 * len(self._keys)
        self._keys, self._numbers = array("Q", bytes(8 * size)), array("Q", bytes(8 * size))
        for key, stored in old:
            if stored:
                self._put(key, stored)


class IdSet:
    """A set of ids that only grows; holds 127 bits of each."""

    def __init__(self) -> None:
        self._index = DigestIndex()

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, name: str) -> bool:
        key, rest = _halves(name)
        return rest in self._index.find(key)

    def add(self, name: str) -> bool:
        """Add an id; False if it was there already."""
        key, rest = _halves(name)
        if rest in self._index.find(key):
            return False
        self._index.add(key, rest)
        return True


def key_of(name: str) -> int:
    """64 bits of an id's hash."""
    return _halves(name)[0]


def _halves(name: str) -> tuple[int, int]:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") >> 1
