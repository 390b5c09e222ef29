"""``csi-model serve``: reads the options and runs the daemon."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import click

from csi_model.cli.options import DEFAULT_HOME, DEFAULT_STORE, knob
from csi_model.settings import PageCacheSettings, Settings, StoreSettings, TransferSettings

_ENDPOINT = "unix:///run/csi-model/csi.sock"
_STORE = StoreSettings(DEFAULT_STORE)
_STREAMS = TransferSettings().streams
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
@knob("--registry", type=_DIRECTORY, default=DEFAULT_HOME / "volumes", metavar="DIR",
      help="Directory of the volume records; controller and nodes share it.")  # fmt: skip
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
    from csi_model.cli.daemon import Plan, run  # noqa: PLC0415

    settings = Settings(
        store=StoreSettings(
            given["store"],
            require_mount=given["require_mount"],
            high_watermark=given["high_watermark"],
            low_watermark=given["low_watermark"],
        ),
        transfer=TransferSettings(
            streams=given["streams"],
            streams_most=max(given["streams"], given["max_streams"]),
            rate_limit=given["max_rate"] * 1e6,
            tls_processes=given["tls_processes"],
        ),
        page_cache=PageCacheSettings(given["page_cache"]),
        ambient_allow=given["ambient_allow"],
        ca_bundle=given["ca_bundle"],
    )
    _make_default_places(given)
    plan = Plan(
        mode=given["mode"],
        endpoint=given["endpoint"],
        node_id=given["node_id"],
        registry=given["registry"],
        settings=settings,
        log_level=given["log_level"],
        log_format=given["log_format"],
    )
    code = run(plan)
    sys.stderr.flush()
    # Everything is closed. What could still run is a call that waits for a source's answer in a thread: leaving the
    # usual way would wait for it, up to its own time limit.
    os._exit(code)


def _make_default_places(given: dict[str, Any]) -> None:
    """Make the directories above the defaults; a place that somebody chose may be a disk that isn't mounted yet."""
    for path, default in (
        (Path(given["endpoint"].removeprefix("unix://")), Path(_ENDPOINT.removeprefix("unix://"))),
        (given["store"], DEFAULT_STORE),
        (given["registry"], DEFAULT_HOME / "volumes"),
    ):
        if path == default:
            try:
                default.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise click.ClickException(f"can't make {default.parent}: {error.strerror}") from None
