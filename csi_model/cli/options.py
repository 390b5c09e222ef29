"""Options that several commands share, and the types of values that people type."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

DEFAULT_HOME = Path("/var/lib/csi-model")
"""Where the store and the registry lie if nobody says otherwise."""
DEFAULT_STORE = DEFAULT_HOME / "store"

_Function = TypeVar("_Function", bound=Callable[..., Any])
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?\Z")


def read_size(_: click.Context | None, __: click.Parameter | None, text: str) -> int:
    """Read bytes, as click's callbacks do: ``512MB``, ``1.5 GB``, ``1GiB``, ``1000000``.

    Raises:
        click.BadParameter: it is no size.

    """
    match = _SIZE.match(text.strip().upper())
    if match is None or (match[3] and not match[2]):
        raise click.BadParameter(f"{text!r} is not a size: say 512MB, 1.5GB or 1GiB")
    unit = 1024 ** "KMGT".index(match[2]) * 1024 if match[3] else _UNITS[match[2]]
    return int(float(match[1]) * unit)


def knob(name: str, **how: Any) -> Callable[[_Function], _Function]:
    """Make an option that can also be set as ``CSIMODEL_<NAME>``; its help shows the variable and the default."""
    variable = "CSIMODEL_" + name.partition("/")[0].removeprefix("--").replace("-", "_").upper()
    how = {"envvar": variable, "show_envvar": True, "show_default": True, **how}
    return click.option(name, **how)


def store_option(command: _Function) -> _Function:
    """``--store``: which store to look after."""
    return knob(
        "--store", type=click.Path(path_type=Path, file_okay=False), default=DEFAULT_STORE, metavar="DIR",
        help="Directory of the node's store.",
    )(command)  # fmt: skip


def json_option(command: _Function) -> _Function:
    """``--json``: for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for programs.")(command)
