"""Logs on standard error: lines for people, or JSON lines for programs.

A record may carry ``extra={"fields": {...}}``: JSON lines have them as members, lines for people don't (their message
says it all), and ``extra={"traceback": "..."}``, a traceback from which secrets have been taken.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from csi_model.errors import InvalidArgument

FORMATS = ("human", "json")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {0x0A: "\\n", 0x0D: "\\r"}


class HumanFormatter(logging.Formatter):
    """``2025-01-31T12:00:00.123Z INFO rpc: NodeStageVolume m-1a2b… OK 12.3 ms``; one line unless it has a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        # Volume ids and source texts are free text: a line break in one must not look like a line of the log.
        message = record.getMessage().translate(_CONTROL)
        name = record.name.removeprefix("csi_model.")
        lines = [f"{_time(record)} {record.levelname} {name}: {message}", *_tracebacks(self, record)]
        return "\n".join(line.rstrip("\n") for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object in a line: time, level, logger, message, the record's fields, and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        traceback = "\n".join(_tracebacks(self, record))
        if traceback:
            document["traceback"] = traceback
        return json.dumps(document, ensure_ascii=False, default=str)


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that setting up again replaces it and touches nobody else's."""


def setup(level: str = "INFO", form: str = "human") -> None:
    """Send the package's logs to standard error; what other libraries say only from WARNING on.

    (At DEBUG the S3 client would log signed requests.)

    Args:
        level: a level's name, in any case.
        form: one of FORMATS.

    Raises:
        InvalidArgument: there is no such level or format.

    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise InvalidArgument("log level", f"is {level!r}, allowed are DEBUG, INFO, WARNING, ERROR")
    if form not in FORMATS:
        raise InvalidArgument("log format", f"is {form!r}, allowed are {', '.join(FORMATS)}")
    handler = _Handler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else HumanFormatter())
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger("csi_model").setLevel(number)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tracebacks(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    found = [str(getattr(record, "traceback", ""))]
    if record.exc_info:
        found.append(formatter.formatException(record.exc_info))
    return [text for text in found if text]
