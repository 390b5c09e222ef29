"""``csi-model serve``: reads the options and runs the daemon."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import click

from csi_model.cli.options import DEFAULT_HOME, DEFAULT_STORE, knob
from csi_model.cli.steering import steering_options, steering_settings
from csi_model.settings import PageCacheSettings, Settings, StoreSettings, TransferSettings

_ENDPOINT = "unix:///run/csi-model/csi.sock"
_STORE = StoreSettings(DEFAULT_STORE)
_STREAMS = TransferSettings().streams
KUBERNETES = "kubernetes"
"""As a registry: ModelVolume objects. A directory of that name is ./kubernetes."""
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command(short_help="Run the CSI driver: controller, node, or both.")
@knob("--mode", type=click.Choice(["all", "controller", "node"]), default="all",
      help="Which services to run in this process; a controller alone has no store.")  # fmt: skip
@knob("--endpoint", envvar=["CSIMODEL_ENDPOINT", "CSI_ENDPOINT"], default=_ENDPOINT, metavar="URL",
      help="Unix socket to serve on, as unix:///path; only its owner may connect.")  # fmt: skip
@knob("--node-id", default=socket.gethostname, show_default="host name", metavar="NAME",
      help="This node's name: the Kubernetes node's, where there is one.")  # fmt: skip
@knob("--store", type=_DIRECTORY, default=DEFAULT_STORE, metavar="DIR",
      help="Directory of the node's store, on its fastest local disk. Made if its parent exists.")  # fmt: skip
@knob("--require-mount", type=_DIRECTORY, metavar="DIR",
      help="Refuse to start unless this is a mount point, so that the store never fills the root disk.")  # fmt: skip
@knob("--registry", default=str(DEFAULT_HOME / "volumes"), metavar="DIR|kubernetes",
      help="Where volumes are recorded: a directory that controller and nodes share, or `kubernetes` for ModelVolume "
           "objects of the cluster that this process belongs to (or of kubectl's).")  # fmt: skip
@knob("--high-watermark", type=click.FloatRange(0, 1, min_open=True), default=_STORE.high_watermark,
      help="Fraction of the store's disk in use above which unused models are evicted.")  # fmt: skip
@knob("--low-watermark", type=click.FloatRange(0, 1, min_open=True), default=_STORE.low_watermark,
      help="Fraction down to which eviction goes on.")  # fmt: skip
@knob("--streams", type=click.IntRange(1, 256), default=_STREAMS,
      help="Requests in flight on this node at first, all models together; more or fewer are tried out.")  # fmt: skip
@knob("--max-streams", type=click.IntRange(1, 256), default=TransferSettings().streams_most,
      help="Requests in flight at most.")  # fmt: skip
@knob("--max-rate", type=click.FloatRange(0), default=0.0, metavar="MB/s", show_default="no limit",
      help="Megabytes per second that this node receives at most, all models together.")  # fmt: skip
@knob("--tls-processes", type=click.IntRange(0, 64), show_default="by the number of cores, 0 below 8",
      help="Processes that read over TLS, which one process does at about 1 GB/s.")  # fmt: skip
@knob("--page-cache", type=click.Choice(["auto", "never"]), default=PageCacheSettings().mode,
      help="Whether models that a pod is about to load are brought into memory, where there is room.")  # fmt: skip
@knob("--ca-bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
      help="Certificates of authorities (PEM) to trust instead of the system's, for every source.")  # fmt: skip
@knob("--ambient-allow", multiple=True, metavar="GLOB",
      help="Sources that `auth: ambient` may read although a claim's own words named them, "
           "e.g. 's3://models/team-*/**'. Repeatable.")  # fmt: skip
@knob("--static-allow", multiple=True, metavar="GLOB",
      help="Sources that PersistentVolumes which people write themselves may name, e.g. 's3://models/**'; none by "
           "default. For the controller; needs --static-endpoint too. Repeatable.")  # fmt: skip
@knob("--static-endpoint", multiple=True, metavar="GLOB",
      help="Endpoints that such a PersistentVolume may name: a URL, with * and ? in its host, or `default` for the "
           "cloud's own. Repeatable.")  # fmt: skip
@knob("--inline-allow", multiple=True, metavar="GLOB",
      help="Sources that pods may name in volumes of their own (csi: in the pod's spec); none by default. For the "
           "node; needs --inline-endpoint too. Repeatable.")  # fmt: skip
@knob("--inline-endpoint", multiple=True, metavar="GLOB",
      help="Endpoints that such a pod may name, as --static-endpoint has them. Repeatable.")  # fmt: skip
@steering_options
@knob("--plugins-registry", type=_DIRECTORY, metavar="DIR",
      help="Kubelet's plugins_registry directory, at the same path as on the host, as the endpoint has to be: the node "
           "registers itself with kubelet there.")  # fmt: skip
@knob("--http", metavar="ADDRESS:PORT",
      help="Serve /healthz, /readyz and /metrics here; :9808 for every address of the machine.")  # fmt: skip
@knob("--selinux-label", default="", metavar="LABEL", show_default="what the files get by themselves",
      help="SELinux label of all that pods see, on hosts with SELinux, "
           "e.g. system_u:object_r:container_file_t:s0.")  # fmt: skip
@knob("--drop-capabilities", is_flag=True,
      help="Give up every capability that a node doesn't need, before anything else is done.")  # fmt: skip
@knob("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info",
      help="The least level that is logged, on standard error.")  # fmt: skip
@knob("--log-format", type=click.Choice(["human", "json"]), default="human",
      help="Lines for people, or one JSON object per line.")  # fmt: skip
def serve(**given: Any) -> None:
    """Run the CSI driver on a Unix socket until SIGTERM or SIGINT.

    With the defaults it serves controller and node in one process, keeps models in /var/lib/csi-model/store and volume
    records in /var/lib/csi-model/volumes. Mounting needs root. A second driver on the same store refuses to start.

    On SIGTERM it finishes short calls, stops warm-ups (what is on the disk is resumed later) and exits with 0.
    """
    # Imported here, so that `serve --help` doesn't pay for gRPC.
    from csi_model.cli.daemon import run  # noqa: PLC0415
    from csi_model.cli.plan import Plan  # noqa: PLC0415
    from csi_model.core.allow import Allowed  # noqa: PLC0415

    _make_default_places(given)
    plan = Plan(
        mode=given["mode"],
        endpoint=given["endpoint"],
        node_id=given["node_id"],
        registry=None if given["registry"] == KUBERNETES else Path(given["registry"]),
        settings=_settings(given),
        log_level=given["log_level"],
        log_format=given["log_format"],
        http=given["http"] or None,
        plugins_registry=given["plugins_registry"],
        static=Allowed(given["static_allow"], given["static_endpoint"]),
        inline=Allowed(given["inline_allow"], given["inline_endpoint"]),
        webhook=given["webhook"] or None,
        webhook_spread=given["webhook_spread"],
        heartbeat=given["heartbeat"],
        drop_capabilities=given["drop_capabilities"],
    )
    code = run(plan)
    sys.stderr.flush()
    # Everything is closed. What could still run is a call that waits for a source's answer in a thread: leaving the
    # usual way would wait for it, up to its own time limit.
    os._exit(code)


def _settings(given: dict[str, Any]) -> Settings:
    return Settings(
        store=StoreSettings(
            given["store"],
            require_mount=given["require_mount"],
            high_watermark=given["high_watermark"],
            low_watermark=given["low_watermark"],
            selinux_label=given["selinux_label"],
        ),
        transfer=TransferSettings(
            streams=given["streams"],
            streams_most=max(given["streams"], given["max_streams"]),
            rate_limit=given["max_rate"] * 1e6,
            tls_processes=given["tls_processes"],
        ),
        page_cache=PageCacheSettings(given["page_cache"]),
        steering=steering_settings(given),
        ambient_allow=given["ambient_allow"],
        ca_bundle=given["ca_bundle"],
    )


def _make_default_places(given: dict[str, Any]) -> None:
    """Make the directories above the defaults; a place that somebody chose may be a disk that isn't mounted yet."""
    for path, default in (
        (Path(given["endpoint"].removeprefix("unix://")), Path(_ENDPOINT.removeprefix("unix://"))),
        (given["store"], DEFAULT_STORE),
        (Path(given["registry"]), DEFAULT_HOME / "volumes"),
    ):
        if path == default and (default != DEFAULT_STORE or given["mode"] != "controller"):
            try:
                default.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise click.ClickException(f"can't make {default.parent}: {error.strerror}") from None
