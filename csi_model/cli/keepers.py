"""Whom to ask about a store: the agent that runs on it, or, when none does, the store itself under its lock."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from csi_model.errors import StoreUnusable
from csi_model.node.agent import open_store
from csi_model.node.keeper import Keeper
from csi_model.node.linux_mounts import LinuxMounts
from csi_model.rpc import verbs
from csi_model.rpc.admin import AdminClient, NoAgent
from csi_model.settings import StoreSettings
from csi_model.store.layout import Layout

THROUGH: Mapping[bool, str] = {
    True: "asked the running agent",
    False: "no agent runs: read the store itself, under its lock",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A keeper, and who it is.

    Attributes:
        keeper: answers.
        agent: whether it is the running agent.

    """

    keeper: verbs.Keeper
    agent: bool


@contextmanager
def keeper_of(root: Path) -> Iterator[Asked]:
    """Open the keeper of a store.

    Args:
        root: the store's directory; it is not made.

    Raises:
        StoreUnusable: there is no store, or no right to use it.
        StoreLocked: a process owns it and doesn't answer (it is starting or ending).

    """
    layout = Layout(root)
    try:
        present = layout.version.is_file()
    except OSError as error:
        raise StoreUnusable(f"can't look into the store {root}: {error.strerror}: run as its owner (root)") from None
    if not present:
        raise StoreUnusable(f"there is no store in {root}: say --store DIR, or set CSIMODEL_STORE")
    with ExitStack() as stack:
        yield _ask_agent(layout, stack) or _open(root, stack)


def _ask_agent(layout: Layout, stack: ExitStack) -> Asked | None:
    try:
        return Asked(stack.enter_context(AdminClient(layout.admin_socket)), agent=True)
    except NoAgent:
        return None


def _open(root: Path, stack: ExitStack) -> Asked:
    mounts = LinuxMounts()
    store = open_store(StoreSettings(root), mounts)
    stack.callback(store.close)
    return Asked(Keeper(store, mounts), agent=False)
