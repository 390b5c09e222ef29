"""Who takes part: the contenders that can run here, with the programs they need on their PATH."""

import importlib
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from bench import fetch_tools
from bench.campaign import Section
from bench.contenders import REGISTRY
from bench.measure import Tool

_PROGRAMS: dict[str, Callable[[], Path]] = {
    "rclone": fetch_tools.rclone,
    "curl": lambda: fetch_tools.packaged("curl"),
    "fusermount3": lambda: fetch_tools.packaged("fusermount3"),
}


class UnknownTool(Exception):
    """A tool that nobody knows was asked for."""


def provide_programs(say: Callable[[str], None]) -> None:
    """Put the programs that contenders run on our PATH; what can't be had is told, and its contenders are left out."""
    found = []
    for get in _PROGRAMS.values():
        try:
            found.append(get())
        except fetch_tools.NotFetched as error:
            say(str(error))
    os.environ["PATH"] = fetch_tools.search_path(*found)


def contestants(names: Sequence[str], say: Callable[[str], None]) -> list[Tool]:
    """Return the tools that can run here, all of them or only the named ones.

    Raises:
        UnknownTool: a name isn't known.

    """
    unknown = [name for name in names if name not in REGISTRY]
    if unknown:
        raise UnknownTool(f"{', '.join(unknown)}: not one of {', '.join(REGISTRY)}")
    tools = []
    for name in names or REGISTRY:
        entry = REGISTRY[name]
        reason = entry["available"]()
        if reason:
            say(f"{name} is left out: {reason}")
        else:
            tools.append(Tool(name, entry["module"], frozenset(entry["kinds"])))
    return tools


def sections(names: Sequence[str], say: Callable[[str], None]) -> dict[str, Section]:
    """Return the ``measure`` functions of bench.pod, bench.resume and bench.warm."""
    found: dict[str, Section] = {}
    for name in names:
        if find_spec(f"bench.{name}"):
            found[name] = importlib.import_module(f"bench.{name}").measure
        else:
            say(f"{name} is left out: there is no bench/{name}.py")
    return found
