"""Lanes for the streams' tests: their jobs end when the test says so, so every state is reached and none waited for."""

import threading
from contextlib import ExitStack, contextmanager

from csi_model.transfer.streams import Streams
from tests.transfer.bringing import PATIENCE, quick


class Field:
    """Lanes that begin together, and what their jobs do."""

    def __init__(self, streams):
        self.streams = streams
        self.changed = threading.Condition()
        self.is_open = False
        self.taken = []  # names of lanes, in order
        self.threads = set()

    def lane(self, name="lane", jobs=100, **how):
        return Lane(self, name, jobs, **how)

    @contextmanager
    def serving(self, *lanes):
        """Serve lanes, all from the same moment on, until the block ends."""
        with ExitStack() as all_lanes:
            for lane in lanes:
                all_lanes.enter_context(self.streams.serving(lane))
                all_lanes.callback(lane.end)
            self.is_open = True
            self.streams.wake()
            yield
            for lane in lanes:
                lane.end()

    def wait_until(self, condition):
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE)


class Lane:
    def __init__(self, field, name, jobs, *, urgent=False, size=0, ends=False, keeps_buffers=False):
        self.field = field
        self.name = name
        self.jobs = jobs
        self.urgent = urgent
        self.size = size
        self.may_end = jobs if ends else 0
        self.keeps_buffers = keeps_buffers
        self.buffers = []
        self.running = self.most = self.done = self.looks = 0

    def wants(self):
        with self.field.changed:
            self.looks += 1
            self.field.changed.notify_all()
        return self.size if self.field.is_open and self.jobs else None

    def take(self):
        self.jobs -= 1
        self.field.taken.append(self.name)
        return self.job

    def job(self, buffer):
        field = self.field
        with field.changed:
            self.running += 1
            self.most = max(self.most, self.running)
            field.threads.add(threading.current_thread())
            if buffer is not None:
                self.buffers.append(buffer)
            field.changed.notify_all()
            field.changed.wait_for(lambda: self.done < self.may_end, 2 * PATIENCE)
            self.done += 1
            self.running -= 1
            field.changed.notify_all()
        if buffer is not None and not self.keeps_buffers:
            field.streams.give_back(buffer)

    def let_end(self, count):
        """Let so many more jobs end."""
        with self.field.changed:
            self.may_end += count
            self.field.changed.notify_all()

    def end(self):
        """Have no more jobs, and let those that run end."""
        self.jobs = 0
        self.let_end(1000)


def field_of(streams, **settings):
    return Field(Streams(quick(streams, **settings)))


def running(*lanes):
    return sum(lane.running for lane in lanes)
