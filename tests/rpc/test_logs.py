import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from csi_model.errors import InvalidArgument
from csi_model.rpc import logs


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    root, package = logging.getLogger(), logging.getLogger("csi_model")
    handlers, level = list(root.handlers), package.level
    yield root
    root.handlers[:] = handlers
    package.setLevel(level)


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("csi_model.rpc").makeRecord(
        "csi_model.rpc", logging.INFO, __file__, 1, message, args, None, extra=extra
    )


def test_a_line_for_people() -> None:
    line = logs.HumanFormatter().format(record("staged %s", "m-1"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO rpc: staged m-1", line)


def test_free_text_can_not_forge_a_line() -> None:
    line = logs.HumanFormatter().format(record("volume %s", "m\n2025-01-01T00:00:00.000Z INFO rpc: all is well\x1b[2J"))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


def test_a_line_for_programs_is_one_json_object() -> None:
    line = logs.JsonFormatter().format(record("staged\n%s", "m-1", fields={"volume": "m-1", "path": logging}))
    assert len(line.splitlines()) == 1
    document = json.loads(line)
    assert (document["message"], document["level"], document["volume"]) == ("staged\nm-1", "INFO", "m-1")


def test_an_exception_is_shown() -> None:
    shown = record("failed")
    try:
        int("why")
    except ValueError:
        shown.exc_info = sys.exc_info()
    assert "ValueError: invalid literal" in logs.HumanFormatter().format(shown)
    assert "ValueError: invalid literal" in json.loads(logs.JsonFormatter().format(shown))["traceback"]


def test_logs_go_to_standard_error() -> None:
    program = (
        "import logging; from csi_model.rpc import logs; logs.setup('info', 'json');"
        "logging.getLogger('csi_model.x').info('ours'); logging.getLogger('botocore').debug('signature');"
        "logging.getLogger('csi_model.x').debug('hidden'); logging.getLogger('botocore').warning('theirs')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["ours", "theirs"]


def test_setting_up_again_replaces_the_first(root: logging.Logger) -> None:
    logs.setup("INFO", "human")
    before = len(root.handlers)
    logs.setup("DEBUG", "json")
    assert len(root.handlers) == before
    assert logging.getLogger("csi_model").level == logging.DEBUG


@pytest.mark.parametrize(("level", "form"), [("loud", "human"), ("INFO", "xml")])
def test_an_unknown_level_or_format_is_refused(root: logging.Logger, level: str, form: str) -> None:
    with pytest.raises(InvalidArgument):
        logs.setup(level, form)
