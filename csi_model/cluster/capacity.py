"""Capacity: how much room a node has for one more model, for whoever asks the controller with a topology."""

from collections.abc import Callable

from csi_model.cluster import model_node
from csi_model.cluster.api import Api
from csi_model.core.templates import OBJECT_NAME


def capacity_in(api: Callable[[], Api]) -> Callable[[str], int]:
    """Make the look-up of a node's room in bytes, by its ModelNode: what is free and what could be evicted.

    0 for a node that doesn't say, or isn't known. The look-up raises StoreUnusable if the API doesn't tell.

    Args:
        api: returns the API, or raises StoreUnusable.

    """

    def capacity(node: str) -> int:
        if not OBJECT_NAME.match(node):  # it becomes a path of the API; "" asks of no node
            return 0
        item = api().get(f"{model_node.PATH}/{node}")
        report = model_node.parse_report(item) if item is not None else None
        return report.available + report.evictable if report is not None else 0

    return capacity
