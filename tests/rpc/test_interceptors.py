import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from grpc import StatusCode

from csi_model import errors
from csi_model.rpc import codes
from csi_model.rpc.interceptors import MAX_TEXT
from csi_model.rpc.logs import HumanFormatter, JsonFormatter
from csi_model.rpc.node import NodeService
from tests.fakes.verbs import FakeNode
from tests.rpc.conftest import MOUNT, Driver

STAGE = {"volume_id": "m-1", "staging_target_path": "/staging", "volume_capability": MOUNT}


def raised(row: codes.Row) -> errors.CsiModelError:
    return row.error.__new__(row.error, f"what a {row.error.__name__} says")


def last_record(caplog: pytest.LogCaptureFixture, method: str) -> logging.LogRecord:
    return next(r for r in reversed(caplog.records) if getattr(r, "fields", {}).get("method") == method)


@pytest.mark.parametrize("row", codes.TABLE, ids=lambda row: row.error.__name__)
def test_an_error_becomes_its_code_with_its_text_and_no_details(driver: Driver, row: codes.Row) -> None:
    driver.node.fail_with = raised(row)
    refused = driver.refusal("NodeStageVolume", **STAGE)
    assert refused.code is (row.node_code or row.code)
    assert refused.text == f"what a {row.error.__name__} says"
    assert refused.details == []


def test_an_error_without_words_gets_some(driver: Driver) -> None:
    driver.node.fail_with = errors.MountFailed()
    assert "mount" in driver.refusal("NodeStageVolume", **STAGE).text


def test_a_bug_is_internal_and_tells_where_to_look(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    driver.node.fail_with = RuntimeError("signed with hunter2")
    refused = driver.refusal("NodeStageVolume", **STAGE, secrets={"key": "hunter2"})
    assert refused.code is StatusCode.INTERNAL
    assert "RuntimeError" in refused.text
    assert "signed" not in refused.text
    record = last_record(caplog, "NodeStageVolume")
    assert record.levelno == logging.ERROR
    assert refused.text in record.getMessage()


def test_a_bugs_traceback_is_logged_without_the_secrets(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    driver.node.fail_with = RuntimeError("signed with hunter2")
    driver.refusal("NodeStageVolume", **STAGE, secrets={"key": "hunter2"})
    for formatter in (HumanFormatter(), JsonFormatter()):
        text = formatter.format(last_record(caplog, "NodeStageVolume"))
        assert "Traceback" in text
        assert "in stage" in text
        assert "signed with ***stripped***" in text
        assert "hunter2" not in text


@pytest.mark.parametrize("error", [errors.NodeError("x"), NotImplementedError("x"), AssertionError(), KeyError("x")])
def test_whatever_is_raised_by_mistake_is_internal(driver: Driver, error: Exception) -> None:
    driver.node.fail_with = error
    assert driver.refusal("NodeStageVolume", **STAGE).code is StatusCode.INTERNAL


def test_a_secret_in_an_errors_text_is_stripped(driver: Driver) -> None:
    driver.node.fail_with = errors.SourceDenied("the key hunter2 may not read s3://models")
    refused = driver.refusal("NodeStageVolume", **STAGE, secrets={"key": "hunter2"})
    assert refused.text == "the key ***stripped*** may not read s3://models"


def test_a_text_too_long_for_a_header_is_cut(driver: Driver) -> None:
    driver.node.fail_with = errors.SourceNotFound("x" * 100_000)
    assert len(driver.refusal("NodeStageVolume", **STAGE).text) == MAX_TEXT


def test_each_call_is_one_line(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "csi_model")
    driver.stage()
    driver.create("pvc-7")
    driver.call("NodeGetInfo")
    lines = [record.getMessage().split(" ") for record in caplog.records]
    assert [line[:-2] for line in lines] == [
        ["NodeStageVolume", "m-1", "OK"],
        ["CreateVolume", "pvc-7", "OK"],
        ["NodeGetInfo", "OK"],
    ]


def test_a_failed_call_is_one_line_with_its_text(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "csi_model")
    driver.node.fail_with = errors.StoreFull("3.1 GB are missing")
    driver.refusal("NodeStageVolume", **STAGE)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("NodeStageVolume m-1 RESOURCE_EXHAUSTED ")
    assert record.getMessage().endswith(" ms: 3.1 GB are missing")


def test_progress_is_no_warning(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "csi_model")
    driver.node.fail_with = errors.InProgress("12.3 GB of 16.4 GB")
    driver.refusal("NodeStageVolume", **STAGE)
    assert last_record(caplog, "NodeStageVolume").levelno == logging.INFO


def test_a_probe_is_logged_only_for_debugging(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "csi_model")
    driver.call("Probe")
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, "csi_model")
    driver.call("Probe")
    assert last_record(caplog, "Probe").levelno == logging.DEBUG


def test_a_request_is_logged_only_for_debugging_and_without_secrets(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "csi_model")
    driver.stage(secrets={"key": "hunter2"}, volume_context={"source": "s3://models/a"})
    assert "hunter2" not in caplog.text
    assert "s3://models/a" in caplog.text
    caplog.clear()
    caplog.set_level(logging.INFO, "csi_model")
    driver.stage(secrets={"key": "hunter2"}, volume_context={"source": "s3://models/a"})
    assert "s3://models/a" not in caplog.text


def test_a_line_for_programs_has_the_fields(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    driver.node.fail_with = errors.SourceDenied("no")
    driver.refusal("NodeStageVolume", **STAGE)
    line = json.loads(JsonFormatter().format(last_record(caplog, "NodeStageVolume")))
    assert (line["method"], line["volume"], line["code"], line["text"]) == (
        "NodeStageVolume",
        "m-1",
        "PERMISSION_DENIED",
        "no",
    )
    assert line["ms"] >= 0
    assert "traceback" not in line


class WaitsForItsCallerToLeave(NodeService):
    def NodeStageVolume(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        left = threading.Event()
        assert not context.add_callback(left.set) or left.wait(30)
        return super().NodeStageVolume(request, context)


def test_a_caller_who_left_is_noticed(make_driver: Callable[..., Driver], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "csi_model")
    driver = make_driver(node=WaitsForItsCallerToLeave(FakeNode(), node_id="node-1"))
    assert driver.refusal("NodeStageVolume", timeout=0.1, **STAGE).code is StatusCode.DEADLINE_EXCEEDED
    driver.server._pool.shutdown(wait=True)  # until the handler has written its line
    assert "(the caller had left)" in last_record(caplog, "NodeStageVolume").getMessage()
