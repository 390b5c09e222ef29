"""The chart speaks the command line that there is."""

import re

import click
import pytest

from csi_model.cli.serve import serve
from tests.manifests.reading import CHART, arguments

KNOWN = {name for parameter in serve.params for name in (*parameter.opts, *parameter.secondary_opts)}
TEMPLATES = sorted(CHART.glob("templates/*"))
OF_THE_SIDECARS = {
    "--csi-address",
    "--timeout",
    "--retry-interval-max",
    "--extra-create-metadata",
    "--strict-topology",
    "--immediate-topology",
    "--leader-election",
    "--leader-election-namespace",
    "--http-endpoint",
    "--enable-capacity",
    "--capacity-ownerref-level",
    "--capacity-poll-interval",
}


def test_every_option_in_the_templates_exists():
    used = {option for path in TEMPLATES for option in re.findall(r"^ *- (--[a-z-]+)", path.read_text(), re.MULTILINE)}
    assert used - OF_THE_SIDECARS <= KNOWN
    assert used >= OF_THE_SIDECARS


@pytest.mark.parametrize("container", ["csi-model-node/csi-model", "csi-model-controller/csi-model"])
def test_the_command_line_is_understood(container):
    command, *options = arguments(container)
    assert command == "serve"
    with serve.make_context("serve", options) as context:
        assert isinstance(context, click.Context)


def test_the_agent_registers_itself_and_drops_its_capabilities():
    assert "--drop-capabilities" in arguments("csi-model-node/csi-model")
    assert "--plugins-registry=/var/lib/kubelet/plugins_registry" in arguments("csi-model-node/csi-model")


def test_inline_volumes_are_off_until_somebody_allows_them():
    assert not [option for option in arguments("csi-model-node/csi-model") if option.startswith("--inline")]
