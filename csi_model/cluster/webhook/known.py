"""Known: which models a pod's claims name, from memory.

Three watches tell of it: claims, StorageClasses, ModelVolumes. A claim's model isn't known before the claim has been
resolved, which takes a moment; so that a claim and its Deployment can be applied together, who asks waits, but only
while there is something to wait for, no longer than the API server waits for the webhook, and only so many at once:
one more gets what is known now.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from csi_model.cluster.facts import Volume
from csi_model.cluster.webhook.index import ClaimsListener, ClassesListener, Index, VolumesListener

_PATIENCE = 2.0  # seconds; the API server waits for 3
_MOST, _MOST_OF_ONE = 64, 32  # who wait at once, in all and of one namespace
_WATCHES = 3


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a pod's claims.

    Attributes:
        volumes: their ModelVolumes.
        late: whether more was to be expected, and didn't come in time.

    """

    volumes: tuple[Volume, ...] = ()
    late: bool = False


class Known:
    """All of it. Safe to use from many threads.

    Args:
        patience: seconds that :meth:`find` waits at most.
        most: who wait at once.
        most_of_one: likewise, of one namespace.

    Attributes:
        claims: listens to the watch of claims.
        classes: listens to the watch of StorageClasses.
        volumes: listens to the watch of ModelVolumes.

    """

    def __init__(self, *, patience: float = _PATIENCE, most: int = _MOST, most_of_one: int = _MOST_OF_ONE) -> None:
        self._patience, self._most, self._most_of_one = patience, most, most_of_one
        self._index = Index()
        self._waiting: Counter[str] = Counter()  # by namespace
        self.claims = ClaimsListener(self._index)
        self.classes = ClassesListener(self._index)
        self.volumes = VolumesListener(self._index)

    @property
    def synced(self) -> bool:
        """Whether all three watches have told what there is."""
        return self._index.told == _WATCHES

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self._waiting.total()

    def find(self, namespace: str, claims: Iterable[str], made: Iterable[str] = ()) -> Found:
        """Find the models of claims; waits for those that are being resolved.

        Args:
            namespace: of the claims.
            claims: their names.
            made: names of claims that aren't waited for.

        """
        index, keys = self._index, [(namespace, name) for name in claims]
        with index.changed:
            if index.expected(keys):
                with self._place(namespace) as free:
                    if free:
                        index.wait(keys, self._patience)
            volumes = [volume for key in (*keys, *((namespace, name) for name in made)) for volume in index.of(key)]
            return Found(tuple(volumes), late=index.expected(keys))

    @contextmanager
    def _place(self, namespace: str) -> Iterator[bool]:
        """Take a place among those who wait, if there is one; the lock is held."""
        if self._waiting.total() >= self._most or self._waiting[namespace] >= self._most_of_one:
            yield False
            return
        self._waiting[namespace] += 1
        try:
            yield True
        finally:
            self._waiting[namespace] -= 1
            self._waiting = +self._waiting  # forgets namespaces of which nobody waits
