import click
import pytest

from csi_model.cli.serve import serve
from csi_model.cli.steering import read_quotas, steering_settings


def given(*arguments):
    with serve.make_context("serve", list(arguments)) as context:
        return context.params


def test_the_defaults_are_those_of_the_settings():
    settings = steering_settings(given("--identity=a"))
    assert (settings.identity, settings.namespace, settings.silent_after, settings.evict_grace) == (
        "a", "csi-model", 120, 30,
    )  # fmt: skip
    assert not settings.not_ready_taint
    assert settings.quotas == {}


def test_quotas_are_sizes_by_namespace():
    settings = steering_settings(given("--quota=team-a=2TB", "--quota=*=500GB"))
    assert settings.quotas == {"team-a": 2 * 10**12, "*": 500 * 10**9}


@pytest.mark.parametrize(
    "text", ["", "team", "team=", "=1GB", "Team=1GB", "team=much", "team=1GB,other=2GB", "a/b=1GB"]
)
def test_a_quota_that_is_none_is_refused(text):
    with pytest.raises(click.BadParameter):
        read_quotas(None, None, (text,))


def test_a_namespace_has_one_quota():
    with pytest.raises(click.BadParameter):
        read_quotas(None, None, ("team=1GB", "team=2GB"))


def test_a_pod_says_where_it_runs(monkeypatch):
    monkeypatch.setenv("CSIMODEL_NAMESPACE", "models")
    monkeypatch.setenv("CSIMODEL_IDENTITY", "pod-1")
    settings = steering_settings(given())
    assert (settings.namespace, settings.identity) == ("models", "pod-1")


def test_the_webhook_spreads_unless_told_otherwise():
    assert given()["webhook_spread"] is True
    assert given("--no-webhook-spread")["webhook_spread"] is False
