"""Duties: what one node's objects should say, and having that written: labels, orders, and no taint."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from csi_model.cluster import model_node
from csi_model.cluster.api import METADATA, Api
from csi_model.cluster.facts import Guarded, Node
from csi_model.cluster.model_node import ModelNode
from csi_model.cluster.steering.asked import Asked
from csi_model.cluster.steering.changes import our_labels
from csi_model.cluster.steering.guarding import guards, next_look
from csi_model.cluster.steering.inventory import Inventory
from csi_model.cluster.steering.labelling import labels_due
from csi_model.cluster.steering.writes import Rank
from csi_model.cluster.trimming import NOT_READY, KnownNode, version_of
from csi_model.core.copies import Guard
from csi_model.settings import SteeringSettings

Json = dict[str, Any]
LABELS, ORDERS, TAINT = "labels", "orders", "taint"
"""Kinds of changes."""
_NODES = "/api/v1/nodes"
_GONE = "gone"  # as content: no object


class Duties:
    """For one thread.

    Args:
        inventory: what is known.
        api: where it is written.
        asked: what is on its way there.
        settings: how long, and how many.
        now: seconds since the epoch.

    """

    def __init__(
        self, inventory: Inventory, api: Api, asked: Asked, settings: SteeringSettings, now: Callable[[], float]
    ) -> None:
        self._inventory, self._api, self._asked, self._settings, self._now = inventory, api, asked, settings, now
        self._touched: dict[str, set[str]] = {}  # by node: labels that may be there although no watch told so yet
        self._since = 0.0

    def begin(self) -> None:
        """Note that this controller leads from now on: graces begin anew, since others' clocks aren't trusted."""
        self._since = round(self._now(), 3)
        self._touched.clear()

    def settle(self, name: str) -> float | None:
        """See to one node; return the seconds after which it has to be looked at again."""
        known, model = self._inventory.known(name), self._inventory.model(name)
        if known is None:
            self._forget(name, model)
            return None
        node, now = self._inventory.nodes[name], round(self._now(), 3)  # as the API keeps it
        due = guards(
            self._renewed(node), self._inventory.required, self._inventory.using.needed_on(name),
            now=now, grace=self._settings.evict_grace,
        )  # fmt: skip
        if due != node.guarded:
            self._inventory.order(name, node.wanted, due)
            node = self._inventory.nodes[name]
        self._label(known, node)
        self._give_orders(known, model, node)
        if self._settings.not_ready_taint:
            self._welcome(known, node)
        return next_look(due, now, self._settings.evict_grace)

    def _forget(self, name: str, model: ModelNode | None) -> None:
        self._touched.pop(name, None)
        for kind in (LABELS, TAINT):
            self._asked.forget((kind, "", name))
        if model is not None:
            self._remove(model)
        else:
            self._asked.forget((ORDERS, "", name))

    def _renewed(self, node: Node) -> Node:
        """Begin the graces anew that another leader began, by his own clock; nothing began in the future."""
        now = round(self._now(), 3)

        def foreign(it: Guarded) -> bool:
            return it.since > now or (it.guard is Guard.WITHDRAWN and it.since < self._since)

        if not any(map(foreign, node.guarded.values())):
            return node
        guarded = {revision: Guarded(it.guard, now) if foreign(it) else it for revision, it in node.guarded.items()}
        self._inventory.order(node.name, node.wanted, guarded)
        return self._inventory.nodes[node.name]

    def _label(self, known: KnownNode, node: Node) -> None:
        due = labels_due(node, self._inventory.steered, most=self._settings.labels_per_node)
        there = our_labels(node.labels)
        touched = self._touched.setdefault(node.name, set())
        touched |= due.keys()
        change: dict[str, str | None] = dict.fromkeys((there.keys() | touched) - due.keys())
        write = partial(self._write_labels, node.name, {**change, **due})
        target, version = (LABELS, "", node.name), known.version
        if self._asked.settle(target, Rank.LABELS, there, due, write, version=version):
            del self._touched[node.name]

    def _give_orders(self, known: KnownNode, model: ModelNode | None, node: Node) -> None:
        if model is not None and model.owner_uid != known.uid:
            self._remove(model)  # of a Node that had this name before
        elif model is not None:
            there, due = (model.wanted, model.guarded), (node.wanted, node.guarded)
            write = partial(self._write_orders, node)
            self._asked.settle((ORDERS, "", node.name), Rank.ORDERS, there, due, write, version=model.version)
        elif known.registered:
            write = partial(self._create, node, known.uid)
            self._asked.settle((ORDERS, "", node.name), Rank.ORDERS, None, (node.wanted, node.guarded), write)

    def _remove(self, model: ModelNode) -> None:
        def delete() -> int:
            self._api.delete(f"{model_node.PATH}/{model.name}", uid=model.uid)
            return 0

        self._asked.settle((ORDERS, "", model.name), Rank.ORDERS, model.uid, _GONE, delete)

    def _welcome(self, known: KnownNode, node: Node) -> None:
        """Take the taint away from a node whose agent is up."""
        tainted = any(taint.key == NOT_READY for taint in known.taints)
        due = tainted and not (known.registered and node.alive)
        write = partial(self._untaint, node.name)
        self._asked.settle((TAINT, "", node.name), Rank.LABELS, tainted, due, write, version=known.version)

    def _untaint(self, name: str) -> int:
        """Write the taints without ours: only if nobody changed them since we read them."""
        item = self._api.get(f"{_NODES}/{name}")
        taints = ((item or {}).get("spec") or {}).get("taints") or []
        others = [taint for taint in taints if taint.get("key") != NOT_READY]
        if item is None or len(others) == len(taints):
            return 0
        version = {"resourceVersion": item["metadata"]["resourceVersion"]}
        body = {"metadata": version, "spec": {"taints": others}}
        return version_of(self._api.merge_patch(f"{_NODES}/{name}", body, accept=METADATA))

    def _write_labels(self, name: str, labels: Mapping[str, str | None]) -> int:
        body = {"metadata": {"labels": labels}}
        return version_of(self._api.merge_patch(f"{_NODES}/{name}", body, accept=METADATA))

    def _write_orders(self, node: Node) -> int:
        spec = model_node.render_spec(node.wanted, node.guarded)
        return version_of(self._api.merge_patch(f"{model_node.PATH}/{node.name}", {"spec": spec}, accept=METADATA))

    def _create(self, node: Node, uid: str) -> int:
        item = model_node.render(node.name, uid)
        item["spec"] = model_node.render_spec(node.wanted, node.guarded)
        return version_of(self._api.create(model_node.PATH, item))
