"""The ``csi-model`` command: its sub-commands, their groups in the help, and how errors end the process.

A sub-command's module is imported when it is asked for: the daemon answers its first probe within a second of exec,
and pays for no other command's imports.
"""

from importlib import import_module
from typing import Any

import click

from csi_model import __version__
from csi_model.cli import exits
from csi_model.errors import CsiModelError, InvalidArgument

_COMMANDS: dict[str, dict[str, str]] = {
    "Run the driver": {
        "serve": "Run the CSI driver: controller, node, or both.",
    },
    "Look after a node's store": {
        "status": "Show the store's room, its models and who holds them.",
        "verify": "Read staged models again and look for damage.",
        "evict": "Delete models that nothing uses.",
    },
    "Try it": {
        "demo": "Stage, publish and share a model on this machine.",
    },
}
_EXAMPLES = """\
  See it work, with a model that it makes, or with yours:
    csi-model demo
    csi-model demo --source s3://models/qwen3-8b --endpoint https://minio.example.com --auth secret

  Run controller and node in one process (no Kubernetes needed):
    csi-model serve --endpoint unix:///run/csi-model/csi.sock --store /mnt/nvme/models --require-mount /mnt/nvme

  What does this node hold, and is it sound?
    csi-model status --store /mnt/nvme/models
    csi-model verify --store /mnt/nvme/models
    csi-model evict unused --dry-run --store /mnt/nvme/models

  The same in a cluster, of any node's agent or of one that `kubectl get pods -o wide` names:
    kubectl -n csi-model exec ds/csi-model-node -- csi-model status"""
_ENVIRONMENT = """\
  Each option of `serve`, and --store everywhere, can be set as CSIMODEL_<OPTION>: CSIMODEL_STORE=/mnt/nvme/models,
  CSIMODEL_HIGH_WATERMARK=0.75. The command line wins. A repeatable option takes words separated by spaces.
  CSI_ENDPOINT is what `serve` uses when neither --endpoint nor CSIMODEL_ENDPOINT is given.
  Ambient credentials and proxies are read as boto3 reads them: AWS_*, HTTPS_PROXY, NO_PROXY."""
_EXIT_CODES = f"""\
  {exits.OK}    it worked                     {exits.DAMAGED}    verify found damage
  {exits.FAILED}    it failed; one line says why  130  interrupted with Ctrl-C
  {exits.USAGE}    an option or argument is wrong"""
_SECTIONS = (("Examples", _EXAMPLES), ("Environment", _ENVIRONMENT), ("Exit codes", _EXIT_CODES))


class Failure(click.ClickException):
    """Ends the process with one line instead of a traceback."""

    exit_code = exits.FAILED

    def show(self, file: Any = None) -> None:  # noqa: ARG002 - click's signature
        click.echo(f"csi-model: {self.message}", err=True)


class WrongUsage(Failure):
    """What was typed can't be meant."""

    exit_code = exits.USAGE


class Commands(click.Group):
    """Sub-commands by group, imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for commands in _COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = getattr(import_module(f"csi_model.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for group, commands in _COMMANDS.items():
            with formatter.section(group):
                formatter.write_dl(list(commands.items()), col_max=12)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, text in _SECTIONS:
            formatter.write(f"\n{title}:\n{text}\n")

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CsiModelError as error:
            kind = WrongUsage if isinstance(error, InvalidArgument) else Failure
            raise kind(str(error)) from None
        except KeyboardInterrupt:
            click.echo("\ncsi-model: interrupted", err=True)
            ctx.exit(exits.INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="csi-model")
def csi_model() -> None:
    """Model weights as Kubernetes volumes: verified whole copies on the node's own disk.

    A claim names a model (s3://models/qwen3-8b). csi-model copies it to the node's disk before the pod starts, checks
    every byte, and mounts it read-only; pods and volumes of one model share one copy. `csi-model COMMAND --help` tells
    a command's options, with defaults and units.
    """
