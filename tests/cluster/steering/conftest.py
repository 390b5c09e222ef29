import pytest

from csi_model.cluster.events import Events
from csi_model.cluster.steering.steering import Steering
from csi_model.settings import SteeringSettings
from tests.cluster.steering.world import World


@pytest.fixture
def world(server):
    return World(server)


@pytest.fixture
def events(api):
    events = Events(api, component="csi-model.io/controller")
    yield events
    events.close(30)


@pytest.fixture
def controller(api, events):
    """Make controllers that run; they end with the test."""
    running = []

    def start(name="one", **settings):
        how = {"namespace": "csi-model", "identity": name, "debounce": 0.005, "evict_grace": 0.05, **settings}
        steering = Steering(api, events, SteeringSettings(**how))
        running.append(steering)
        steering.start()
        return steering

    yield start
    for steering in running:
        steering.stop(30)
