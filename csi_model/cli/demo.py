"""``csi-model demo``."""

import os
import signal
from pathlib import Path
from types import FrameType

import click

from csi_model.cli.options import read_size
from csi_model.core.volume import VolumeSpec
from csi_model.errors import CsiModelError, InvalidArgument
from csi_model.node import namespace

_REAL_DISK = "/var/tmp"  # noqa: S108 - a private directory is made below it; /tmp is often memory
_SECRETS = {
    "accessKeyId": "AWS_ACCESS_KEY_ID",
    "secretAccessKey": "AWS_SECRET_ACCESS_KEY",
    "sessionToken": "AWS_SESSION_TOKEN",
}


class MissingPackage(CsiModelError):
    """A package that only the demo wants isn't installed."""


@click.command(short_help="Stage, publish and share a model on this machine.")
@click.option("--size", callback=read_size, default="512MB", show_default=True, metavar="SIZE",
              help="Size of the model that is made, e.g. 512MB or 2GiB; wants four times as much disk.")  # fmt: skip
@click.option("--source", metavar="URL", help="Show it with your own model instead, e.g. s3://models/qwen3-8b.")
@click.option("--endpoint", metavar="URL", help="Where its object store answers; the cloud's own if not given.")
@click.option("--region", metavar="NAME", help="Its bucket's region.")
@click.option("--auth", type=click.Choice(["anonymous", "ambient", "secret"]), default="anonymous", show_default=True,
              help="Whose rights read it: nobody's, those that boto3 finds, or the keys in AWS_ACCESS_KEY_ID, "
                   "AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN).")  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the working directory: store, records, logs.")
def demo(size: int, source: str | None, endpoint: str | None, region: str | None, auth: str, *, keep: bool) -> None:
    """Show what csi-model does, on this machine, in under two minutes; no Kubernetes, no Docker, no root.

    Starts the real driver and plays kubelet over its socket: a pod's cold start with progress, a second pod, a second
    volume of the same model, a new revision; another process checks every tensor. Works in a mount namespace of its own
    and a temporary directory (TMPDIR, else /var/tmp), and takes everything away, also after Ctrl-C.
    """
    parameters = _parameters(source, endpoint=endpoint, region=region, auth=auth)
    secrets = _secrets() if source and auth == "secret" else {}
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _end)
    namespace.enter()  # before anything is imported that starts threads: numpy does
    try:
        from csi_model.cli.tables import console  # noqa: PLC0415
        from csi_model.demo.run import Wanted, run_demo  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingPackage(f"the demo needs {error.name}: run `pip install 'csi-model[demo]'`") from None
    below = None if os.environ.get("TMPDIR") or not os.access(_REAL_DISK, os.W_OK) else Path(_REAL_DISK)
    run_demo(Wanted(size, parameters, secrets, below, keep), console())


def _parameters(source: str | None, **others: str | None) -> dict[str, str]:
    if source is None:
        if others["endpoint"] or others["region"]:
            raise click.UsageError("--endpoint and --region are those of a --source")
        return {}
    parameters = {"source": source, **{name: value for name, value in others.items() if value}}
    VolumeSpec.from_parameters(parameters)  # a wrong one is told before anything is started
    return parameters


def _secrets() -> dict[str, str]:
    found = {name: os.environ[variable] for name, variable in _SECRETS.items() if os.environ.get(variable)}
    missing = [_SECRETS[name] for name in ("accessKeyId", "secretAccessKey") if name not in found]
    if missing:
        raise InvalidArgument("--auth secret", f"takes the keys from {' and '.join(missing)}: set them")
    return found


def _end(number: int, _: FrameType | None) -> None:
    """Unwind, so that everything is taken away; the exit code is the one that shells expect."""
    raise SystemExit(128 + number)
