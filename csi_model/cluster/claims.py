"""Claims: what a PersistentVolumeClaim's author wrote on it, which CreateVolume doesn't tell."""

from collections.abc import Callable, Mapping

from csi_model.cluster.api import METADATA, Api
from csi_model.core.volume import Claim
from csi_model.errors import ClaimIncomplete, StoreUnusable


def annotations_in(api: Callable[[], Api]) -> Callable[[Claim], Mapping[str, str]]:
    """Make the look-up of a claim's annotations.

    The look-up raises ClaimIncomplete if there is no such claim any more, and StoreUnusable if the API doesn't tell.

    Args:
        api: returns the API, or raises StoreUnusable.

    """

    def annotations(claim: Claim) -> Mapping[str, str]:
        path = f"/api/v1/namespaces/{claim.namespace}/persistentvolumeclaims/{claim.name}"
        item = api().get(path, accept=METADATA)
        if item is None:
            raise ClaimIncomplete(f"the claim {claim} is gone: its annotations can't be read")
        metadata = item.get("metadata")
        found = metadata.get("annotations") or {} if isinstance(metadata, dict) else None
        if not isinstance(metadata, dict) or not isinstance(found, dict):
            raise StoreUnusable(f"the claim {claim} is damaged: it has no metadata")
        if claim.uid is not None and metadata.get("uid") != claim.uid:
            raise ClaimIncomplete(f"the claim {claim} is another one now than the volume was asked for")
        return {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, str)}

    return annotations
