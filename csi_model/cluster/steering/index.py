"""Index: a set of values for each key; keys without values don't exist."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Index(Generic[K, V]):
    """Iterates over the keys. For one thread."""

    def __init__(self) -> None:
        self._sets: dict[K, set[V]] = {}

    def __getitem__(self, key: K) -> AbstractSet[V]:
        return self._sets.get(key, frozenset())

    def __contains__(self, key: K) -> bool:
        return key in self._sets

    def __iter__(self) -> Iterator[K]:
        return iter(self._sets)

    def __len__(self) -> int:
        return len(self._sets)

    def add(self, key: K, value: V) -> None:
        """Add a value to a key's."""
        self._sets.setdefault(key, set()).add(value)

    def drop(self, key: K, value: V) -> None:
        """Take a value from a key's, if it is there."""
        values = self._sets.get(key)
        if values is not None:
            values.discard(value)
            if not values:
                del self._sets[key]
