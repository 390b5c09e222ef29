"""The simulated cluster before anything moves: which volumes there are, and who has which copies and pods. No I/O."""

import random
from collections import defaultdict
from dataclasses import dataclass

from bench.scale.sizes import Sizes
from csi_model.core.manifest import Entry, Manifest
from csi_model.core.placement import ALL, Placement, Wants

GIB = 1024**3
POOLS = ("h100", "a100", "l40s", "l4", "t4", "cpu-a", "cpu-b", "cpu-c", "cpu-d", "cpu-e")
POOL = "gpu"
"""Label of the kind of a node."""
_SHARDS = 24
_BYTES = (8 * GIB, 16 * GIB, 32 * GIB, 70 * GIB, 140 * GIB)
_PLACEMENTS = (Placement.PREFER,) * 5 + (Placement.REQUIRE,) * 3 + (Placement.ANY,) * 2
_SEED = 20


@dataclass(frozen=True, slots=True)
class Model:
    """A volume with its claim.

    Attributes:
        number: of it.
        namespace: of the claim.
        manifest: of its revision.
        placement: how it steers.
        wants: where it shall be ahead.

    """

    number: int
    namespace: str
    manifest: Manifest
    placement: Placement
    wants: Wants

    @property
    def claim(self) -> str:
        return f"model-{self.number:03}"

    @property
    def revision(self) -> str:
        return self.manifest.digest

    @property
    def steered(self) -> bool:
        """Whether its copies are labelled."""
        return self.placement is not Placement.ANY


@dataclass(frozen=True, slots=True)
class World:
    """Everything.

    Attributes:
        sizes: of it.
        models: its volumes.
        nodes: by name, the kind of each.
        copies: by node, the numbers of the models that are staged there.
        pods: of ours: number of the model, and node.

    """

    sizes: Sizes
    models: tuple[Model, ...]
    nodes: dict[str, str]
    copies: dict[str, tuple[int, ...]]
    pods: tuple[tuple[int, str], ...]

    def namespaces(self) -> list[str]:
        return [namespace(number) for number in range(self.sizes.namespaces)]


def namespace(number: int) -> str:
    return f"team-{number:02}"


def world(sizes: Sizes) -> World:
    """Make one, always the same for the same sizes."""
    chance = random.Random(_SEED)
    nodes = {f"node-{number:04}": POOLS[number % len(POOLS)] for number in range(sizes.nodes)}
    models = tuple(_model(number, sizes) for number in range(sizes.volumes))
    copies = {node: _copies(models, kind, sizes.copies, chance) for node, kind in nodes.items()}
    holders = defaultdict(list)
    for node, held in copies.items():
        for number in held:
            holders[number].append(node)
    wanted = [number for number in range(sizes.volumes) if holders[number]]
    pods = tuple((number := wanted[pod % len(wanted)], chance.choice(holders[number])) for pod in range(sizes.ours))
    return World(sizes, models, nodes, copies, pods)


def _model(number: int, sizes: Sizes) -> Model:
    size = _BYTES[number % len(_BYTES)] // _SHARDS
    shards = [
        Entry(f"model-{shard:05}-of-{_SHARDS:05}.safetensors", size, f"model-{number}/{shard}", f"v{number}.{shard}")
        for shard in range(_SHARDS)
    ]
    rest = [Entry(name, 4096, f"model-{number}/{name}", f"v{number}") for name in ("config.json", "tokenizer.json")]
    manifest = Manifest.of("s3://models.example.com/models", [*shards, *rest])
    place = _PLACEMENTS[number % len(_PLACEMENTS)]
    return Model(number, namespace(number % sizes.namespaces), manifest, place, _wants(number))


def _wants(number: int) -> Wants:
    """Half of them want nothing, most others a few nodes, one in 50 all of a kind."""
    if number % 50 == 7:  # noqa: PLR2004
        return Wants(ALL, ((POOL, POOLS[number // 50 % len(POOLS)]),))
    if number % 2:
        return Wants()
    return Wants((1, 2, 3, 5)[number // 2 % 4], pin=number % 20 == 0)


def _copies(models: tuple[Model, ...], kind: str, count: int, chance: random.Random) -> tuple[int, ...]:
    everywhere = [m.number for m in models if m.wants.replicas == ALL and m.wants.matches({POOL: kind})]
    others = [m.number for m in models if m.number not in everywhere]
    return tuple(sorted([*everywhere, *chance.sample(others, count - len(everywhere))]))
