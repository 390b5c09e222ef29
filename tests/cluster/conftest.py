import pytest

from csi_model.cluster.adopting import Adopting
from csi_model.cluster.api import connect
from csi_model.cluster.events import Events
from csi_model.cluster.model_volumes import ModelVolumes
from csi_model.core.allow import Allowed
from tests.cluster.adopter import Resolver
from tests.fakes.apiserver import ApiServer


@pytest.fixture
def server():
    with ApiServer() as server:
        yield server


@pytest.fixture
def api(server, tmp_path):
    api = connect(server.kubeconfig(tmp_path))
    yield api
    api.close()


@pytest.fixture
def resolver():
    return Resolver()


@pytest.fixture
def adopting(api, resolver, monkeypatch):
    monkeypatch.setattr("csi_model.cluster.due._PAUSE", 0.01)
    events = Events(api, component="csi-model.io/controller")
    allowed = Allowed(sources=("s3://models/**",), endpoints=("default",))
    adopting = Adopting(api, resolve=resolver, allowed=allowed, events=events, workers=2)
    adopting.events = events
    yield adopting
    resolver.gate.set()
    adopting.stop(30)
    events.close(30)


@pytest.fixture
def registry(api):
    return ModelVolumes(api)
