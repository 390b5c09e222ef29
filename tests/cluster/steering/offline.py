"""A loop without an API: what it is told and what it writes are values, and its clock is a test's."""

from dataclasses import replace

from csi_model.cluster.model_node import ModelNode
from csi_model.cluster.steering.inbox import Inbox, Kind
from csi_model.cluster.steering.loop import Loop
from csi_model.cluster.steering.standings import STAGED
from csi_model.cluster.trimming import KnownNode, KnownVolume
from csi_model.core.copies import NodeReport
from csi_model.core.volume import Claim
from csi_model.settings import SteeringSettings
from tests.cluster.steering.places import GB, volume
from tests.fakes.clock import Clock


class Offline:
    """Attributes: ``written``: (path, body) of each patch; ``said``: (whom, reason, message) of each event."""

    def __init__(self, **settings):
        self.clock, self.leading, self.answers = Clock(), True, True
        self.inbox = Inbox(self.clock)
        self.written, self.said = [], []
        self.loop = Loop(
            self.inbox,
            self,
            self,
            self,
            SteeringSettings(**settings),
            clock=self.clock,
            wall=lambda: self.clock() + 1e9,
            answered=lambda: self.answers,
        )
        self.models, self.beats = {}, 0.0
        for kind in Kind:
            self.inbox.put(kind, None, {})

    # as an API

    def merge_patch(self, path, body, **_):
        self.written.append((path, body))
        return {}

    def create(self, path, body):
        self.written.append((path, body))
        return {}

    # as Events

    def say(self, claim, *, warning, reason, message):
        self.said.append((str(claim), reason, message))

    def say_of(self, subject, *, warning, reason, message):
        self.said.append((subject.name, reason, message))

    # what is told

    def node(self, name, *copies, labels=None, available=1000 * GB, **more):
        known = KnownNode(name, f"uid-{name}", labels or {}, registered=True, **more)
        self.inbox.put(Kind.NODES, ("", name), known)
        self.says(name, *copies, available=available)

    def says(self, name, *copies, available=1000 * GB, used=0, **more):
        self.beats += 1
        report = NodeReport(2000 * GB, used, available, 0, copies)
        old = self.models.get(name) or ModelNode(name, f"m-{name}", 1, f"uid-{name}")
        model = replace(old, heartbeat=self.beats, report=report, **more)
        self.models[name] = model
        self.inbox.put(Kind.MODEL_NODES, ("", name), model)

    def volume(self, *arguments, status=None, claim="claim", **more):
        facts = replace(volume(*arguments, **more), claim=Claim("team", claim, f"uid-{claim}"))
        self.inbox.put(Kind.VOLUMES, ("", facts.name), KnownVolume(facts, status or {}))

    def pod(self, it):
        self.inbox.put(Kind.PODS, (it.namespace, it.name), it)

    # what becomes of it

    def pass_by(self, seconds=0.0):
        """Let time pass, a tenth of a second at a time, and write what is due."""
        end = self.clock() + seconds
        while True:
            self.loop.turn()
            self._write()
            if self.clock() >= end - 1e-9:
                return self
            self.clock.now += 0.1

    def _write(self):
        writes = self.loop.writes
        while (change := writes._first()) is not None:
            del writes._ready[change.rank][change.target]
            change.done(None, change.write())

    def statuses(self):
        return [body["status"] for path, body in self.written if path.endswith("/status")]

    def annotations(self):
        return [body["metadata"]["annotations"][STAGED] for path, body in self.written if "claims" in path]

    def reasons(self, who=None):
        return [reason for whom, reason, _ in self.said if who in (None, whom)]
