"""Tee: one watch tells several listeners, so that nothing is watched twice."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from csi_model.cluster.watching import Key, Listener

T = TypeVar("T")


class Tee(Generic[T]):
    """A listener that passes everything on, in the order in which listeners were added.

    Args:
        listeners: the first ones.

    """

    def __init__(self, *listeners: Listener[T]) -> None:
        self._listeners = list(listeners)

    def add(self, listener: Listener[T]) -> None:
        """Have another one told too; call it before the watch begins."""
        self._listeners.append(listener)

    def replaced(self, objects: Mapping[Key, T]) -> None:
        for listener in self._listeners:
            listener.replaced(objects)

    def changed(self, key: Key, value: T | None) -> None:
        for listener in self._listeners:
            listener.changed(key, value)
