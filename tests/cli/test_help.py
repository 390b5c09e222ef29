from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from csi_model.cli.app import csi_model
from csi_model.cli.options import read_size
from csi_model.cli.serve import serve

COMMANDS = ("serve", "status", "verify", "evict", "demo")


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(csi_model, arguments, env=environment)


@pytest.mark.parametrize("word", [*COMMANDS, "Examples:", "CSIMODEL_", "CSI_ENDPOINT", "Exit codes:", "damage"])
def test_the_help_tells_about(word: str) -> None:
    assert word in run("--help").output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: csi-model {command}")


@pytest.mark.parametrize("option", [o for o in serve.params if isinstance(o, click.Option)], ids=lambda o: o.opts[0])
def test_every_option_of_serve_has_a_variable_and_help(option: click.Option) -> None:
    variable = "CSIMODEL_" + option.opts[0].removeprefix("--").replace("-", "_").upper()
    envvars = option.envvar if isinstance(option.envvar, list) else [option.envvar]
    assert option.help
    assert option.show_envvar
    assert envvars[0] == variable


@pytest.mark.parametrize("name", ["--endpoint", "--node-id", "--store", "--registry", "--high-watermark", "--streams"])
def test_serve_shows_a_default_for(name: str) -> None:
    option = next(option for option in serve.params if name in option.opts)
    assert isinstance(option, click.Option)
    assert option.show_default


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["serve", "--frobnicate"],
        ["serve", "--mode", "half"],
        ["serve", "--streams", "0"],
        ["serve", "--high-watermark", "1.5"],
        ["serve", "--ca-bundle", "/nonexistent/ca.pem"],
        ["evict"],
        ["demo", "--size", "large"],
        ["demo", "--endpoint", "http://127.0.0.1:9"],
        ["demo", "--source", "no reference"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_low_watermark_above_the_high_one_is_one_line() -> None:
    result = run("serve", "--low-watermark", "0.9", "--high-watermark", "0.5")
    assert result.exit_code == 2
    assert result.output == "csi-model: watermarks: want 0 < low ≤ high ≤ 1\n"


def test_a_variable_counts_as_the_option() -> None:
    assert "half" in run("serve", CSIMODEL_MODE="half").output


def test_the_demo_asks_for_keys_by_name() -> None:
    result = run("demo", "--source", "s3://b/m", "--auth", "secret", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="x")
    assert result.exit_code == 2
    assert "AWS_ACCESS_KEY_ID" in result.output


def test_the_version_is_told() -> None:
    assert run("--version").output.startswith("csi-model, version ")


@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_directory_that_is_no_store_is_told_and_left_alone(command: str, tmp_path: Path) -> None:
    result = run(command, "--store", str(tmp_path))
    assert result.exit_code == 1
    assert result.output == f"csi-model: there is no store in {tmp_path}: say --store DIR, or set CSIMODEL_STORE\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512_000_000), ("1.5 GB", 1_500_000_000), ("1GiB", 2**30), ("24m", 24_000_000), ("1000", 1000)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert read_size(None, None, text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1MB", "5iB", "1 parsec", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        read_size(None, None, text)
