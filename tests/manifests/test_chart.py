"""The chart's own consistency, as far as it shows without Helm."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

import csi_model
from csi_model import errors
from csi_model.rpc import metrics
from tests.manifests.reading import CHART, ROOT, containers

CHART_FILE = yaml.safe_load((CHART / "Chart.yaml").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def objects(schema: Any, path: str = "values") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, list):
        schema = dict(enumerate(schema))
    if not isinstance(schema, dict):
        return
    if "properties" in schema:
        yield path, schema
    for name, child in schema.items():
        yield from objects(child, f"{path}.{name}")


def test_the_versions_of_package_chart_and_image_are_one():
    dockerfile = (ROOT / "Dockerfile").read_text()
    [image] = re.findall(r"^ARG VERSION=(.*)$", dockerfile, re.MULTILINE)
    tag = containers()["csi-model-node/csi-model"]["image"].rpartition(":")[2]
    versions = [PROJECT["version"], CHART_FILE["version"], CHART_FILE["appVersion"], image, tag]
    assert versions == [csi_model.__version__] * len(versions)


def test_every_value_has_its_schema_and_the_other_way_round():
    assert set(VALUES) == set(SCHEMA["properties"]) - {"global"}
    for name, value in VALUES.items():
        if "properties" in SCHEMA["properties"][name]:
            assert set(value) == set(SCHEMA["properties"][name]["properties"]), name


def test_unknown_keys_are_refused_everywhere():
    # an environment variable is Kubernetes' own form, which the API server checks
    loose = [path for path, it in objects(SCHEMA) if it.get("additionalProperties") is not False]
    assert loose == ["values.properties.extraEnv.items"]


def test_alerts_and_dashboard_are_off_by_default():
    assert not any(part["enabled"] for part in VALUES["metrics"].values())


def test_the_dashboards_panels_do_not_overlap():
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in dashboard()["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_alerts_name_errors_that_exist():
    [pattern] = re.findall(r'type=~"([^"]+)"', (CHART / "files/alerts.yaml").read_text())
    named = set(re.sub(r"Source\(([^)]*)\)", lambda m: m[1].replace("|", "|Source"), "|" + pattern).split("|")) - {""}
    named = {name if hasattr(errors, name) else f"Source{name}" for name in named}
    assert len(named) > 5
    assert all(hasattr(errors, name) for name in named)


def test_alerts_and_dashboard_use_metrics_that_exist():
    queries = (CHART / "files/alerts.yaml").read_text() + json.dumps(dashboard())
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"csi_model_[a-z_]+", queries)}
    assert len(names) > 5
    assert names <= {metric.name for metric in metrics.TABLE}


def test_every_alert_says_what_it_means():
    [group] = yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "description"}


def dashboard() -> dict[str, Any]:
    return json.loads((CHART / "files/dashboard.json").read_text())
