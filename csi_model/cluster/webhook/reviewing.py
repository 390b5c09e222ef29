"""Reviewing: from an AdmissionReview to the answer, as bytes.

A pod is never refused: whatever goes wrong in here, it is let through as it came.
"""

import base64
import json
import logging
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any

from csi_model.cluster.hostile import mapping, text_or_empty
from csi_model.cluster.webhook.known import Known
from csi_model.cluster.webhook.mutating import mounted, patch

log = logging.getLogger(__name__)
Json = dict[str, Any]
API_VERSION = "admission.k8s.io/v1"
OUTCOMES = ("steered", "nothing", "late", "failed")
"""How a review ends: the pod was given something, there was nothing to give, a model wasn't known in time, a bug."""
_MAX_UID = 128  # characters


class Reviewer:
    """Answers AdmissionReviews. Safe to use from many threads.

    Args:
        known: the models of claims.
        spread: see :func:`csi_model.cluster.webhook.mutating.patch`.
        observe: told how each review ended and the seconds that it took.

    """

    def __init__(
        self, known: Known, *, spread: bool, observe: Callable[[str, float], None] = lambda _outcome, _seconds: None
    ) -> None:
        self._known, self._spread, self._observe = known, spread, observe
        self._reported: set[str] = set()

    def review(self, body: bytes) -> bytes:
        """Answer.

        Raises:
            ValueError: it is no AdmissionReview, so that there is no answer to it.

        """
        began = monotonic()
        request = _request(body)
        outcome, steps = self._steps(request)
        self._observe(outcome, monotonic() - began)
        response: Json = {"uid": request["uid"], "allowed": True}
        if steps:
            encoded = base64.b64encode(json.dumps(steps).encode()).decode()
            response |= {"patchType": "JSONPatch", "patch": encoded}
        return json.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}).encode()

    def _steps(self, request: Json) -> tuple[str, list[Json]]:
        try:
            return self._decide(request)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not keep anybody's pod from being made
            self._report(error)
            return "failed", []

    def _decide(self, request: Json) -> tuple[str, list[Json]]:
        kind, pod = mapping(request, "resource"), request.get("object")
        names = mounted(pod)
        if request.get("operation") != "CREATE" or kind.get("resource") != "pods" or request.get("subResource"):
            return "nothing", []
        if not names.claims and not names.made:
            return "nothing", []
        found = self._known.find(text_or_empty(request.get("namespace")), names.claims, names.made)
        steps = patch(pod, found.volumes, spread=self._spread)
        return ("late" if found.late else "steered" if steps else "nothing"), steps

    def _report(self, error: Exception) -> None:
        """Say once where it happened; not what the error says, which may hold what stands in a pod."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {place.filename.rpartition('/')[2]}:{place.lineno}"
        if where not in self._reported:
            self._reported.add(where)
            log.error("a pod was let through as it came, because of a bug in csi-model: %s", where)


def _request(body: bytes) -> Json:
    try:
        review = json.loads(body)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    request = mapping(review, "request")
    uid = request.get("uid")
    if not isinstance(review, dict) or review.get("apiVersion") != API_VERSION or not isinstance(uid, str):
        raise ValueError(f"it is no AdmissionReview of {API_VERSION}")
    if not 0 < len(uid) <= _MAX_UID:
        raise ValueError("its uid is none")
    return request
