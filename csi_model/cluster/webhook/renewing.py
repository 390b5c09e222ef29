"""Renewing: keeps the webhook's certificate in its Secret, and tells the API server whom to trust.

Every replica does so, every minute: read the Secret, make anew what is due, write it if nobody else did (else read
again: all end with the same), write the authorities into the MutatingWebhookConfiguration, serve the certificate. Both
objects come with the chart and exist already, so the right to change these two by name is enough. Private keys are in
memory and in the Secret, never in a file or in the log.
"""

import base64
import binascii
import datetime as dt
import logging
import os
import random
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any

from csi_model.cluster.api import Api, Json
from csi_model.cluster.errors import ApiAbsent, ApiConflict
from csi_model.cluster.hostile import mapping
from csi_model.cluster.webhook.certificates import SERVICE, Kept, expiry, names_in, renewed, split
from csi_model.errors import StoreUnusable

log = logging.getLogger(__name__)
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/csi-model"
_PERIOD, _PAUSE = 60.0, 5.0  # seconds between two looks; after a failure
_TRIES = 5  # of a write that another replica is faster with
_AUTHORITIES, _AUTHORITY_KEY, _CERTIFICATE, _KEY = "ca.crt", "ca.key", "tls.crt", "tls.key"


class Renewing:
    """Keeps one replica's certificate. Safe to use from many threads.

    Args:
        api: the API.
        namespace: where the Secret and the webhook's Service are.
        period: seconds between two looks.
        now: the time, with a zone.

    """

    def __init__(
        self,
        api: Api,
        namespace: str,
        *,
        period: float = _PERIOD,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._api, self._namespace, self._period, self._now = api, namespace, period, now
        self._secret = f"/api/v1/namespaces/{namespace}/secrets/{SERVICE}"
        self._served = Kept()
        self._context: ssl.SSLContext | None = None
        self._problem = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook certificate", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout: float = 1.0) -> None:
        """End.

        Args:
            timeout: seconds to wait for the thread; one that waits for the API takes longer, and harms nobody.

        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def context(self) -> ssl.SSLContext | None:
        """Return what to serve with; None while there is none."""
        return self._context

    def seconds_left(self) -> float | None:
        """Return for how long the certificate that is served is valid; None while there is none."""
        certificate = self._served.certificate
        return (expiry(certificate) - self._now()).total_seconds() if certificate else None

    def look(self) -> bool:
        """Look once, and do what is due; tell whether all is well."""
        try:
            kept = self._keep()
            self._serve(kept)
            self._trust(kept)
        except StoreUnusable as error:
            if str(error) != self._problem:
                log.warning("the webhook's certificate can't be kept: %s", error)
            self._problem = str(error)
            return False
        self._problem = ""
        return True

    def _run(self) -> None:
        pause = _PAUSE
        while not self._stopped.is_set():
            pause = self._period if self.look() else min(self._period, pause * 2)
            self._stopped.wait(pause * random.uniform(0.8, 1.0))  # noqa: S311 - spreads load

    def _keep(self) -> Kept:
        """Return what the Secret holds, after what is due."""
        for _ in range(_TRIES):
            secret = self._api.get(self._secret)
            if secret is None:
                raise ApiAbsent(f"the Secret {self._namespace}/{SERVICE} is missing: it comes with the chart")
            there = _read(secret)
            due = renewed(there, names_in(self._namespace), self._now())
            if due == there:
                return due
            version = {"resourceVersion": mapping(secret, "metadata").get("resourceVersion")}
            try:
                self._api.merge_patch(self._secret, {"metadata": version, "data": _written(due)})
            except ApiConflict:  # another replica was faster
                continue
            log.info("the webhook's certificates are renewed")
            return due
        raise ApiConflict(f"the Secret {self._namespace}/{SERVICE} changes all the time")

    def _serve(self, kept: Kept) -> None:
        if (kept.certificate, kept.key) != (self._served.certificate, self._served.key):
            self._context = context_of(kept)
            log.info("the webhook serves a certificate that is valid until %s", expiry(kept.certificate).isoformat())
        self._served = kept

    def _trust(self, kept: Kept) -> None:
        """Have the API server trust our authorities; without the object the webhook is switched off."""
        configuration = self._api.get(CONFIGURATION)
        webhooks = (configuration or {}).get("webhooks")
        if configuration is None or not isinstance(webhooks, list):
            return
        bundle = base64.b64encode(kept.bundle).decode()
        trusting = [_trusting(webhook, self._namespace, bundle) for webhook in webhooks]
        if trusting != webhooks:
            # A merge patch replaces the whole list: only if it is still the one that was read.
            version = {"resourceVersion": mapping(configuration, "metadata").get("resourceVersion")}
            self._api.merge_patch(CONFIGURATION, {"metadata": version, "webhooks": trusting})


def _trusting(webhook: Any, namespace: str, bundle: str) -> Any:
    """Return an entry with our authorities; as it is if it isn't ours."""
    client = mapping(webhook, "clientConfig")
    service = mapping(client, "service")
    if (service.get("namespace"), service.get("name")) != (namespace, SERVICE):
        return webhook
    return {**webhook, "clientConfig": {**client, "caBundle": bundle}}


def _read(secret: Json) -> Kept:
    data = mapping(secret, "data")
    authorities, *others = (_decoded(data, it) for it in (_AUTHORITIES, _AUTHORITY_KEY, _CERTIFICATE, _KEY))
    return Kept(split(authorities), *others)


def _decoded(data: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(data[name], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        return b""


def _written(kept: Kept) -> dict[str, str]:
    data = {
        _AUTHORITIES: kept.bundle, _AUTHORITY_KEY: kept.authority_key, _CERTIFICATE: kept.certificate, _KEY: kept.key,
    }  # fmt: skip
    return {name: base64.b64encode(value).decode() for name, value in data.items()}


def context_of(kept: Kept) -> ssl.SSLContext:
    """Make what serves; the certificate goes through memory, since ssl reads files only and the key mustn't be one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with open(os.memfd_create("webhook"), "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(kept.certificate + kept.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context
