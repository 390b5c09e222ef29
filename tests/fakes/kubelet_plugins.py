"""The part of kubelet that registers CSI drivers: watches a directory, and talks to what appears in it.

As kubelet does it: a new connection for each call; GetInfo on the new socket, NodeGetInfo on the endpoint that it
names, then NotifyRegistrationStatus with how that went; a socket's file that is made anew is a new plugin, one that
vanishes is forgotten; a kubelet that starts takes everything that is there for new.
"""

import threading
from contextlib import contextmanager

import grpc

from csi_model.rpc.generated import csi_pb2, csi_pb2_grpc
from csi_model.rpc.generated import pluginregistration_pb2 as pb
from csi_model.rpc.generated.pluginregistration_pb2_grpc import RegistrationStub
from csi_model.rpc.server import channel_target

TIMEOUT = 10
PATIENCE = 30
_GLANCE = 0.02


class KubeletPlugins:
    """A context manager: a kubelet that runs in it.

    Args:
        directory: its plugins_registry.

    Attributes:
        drivers: registered now: name → node id.
        infos: every PluginInfo it got, in order.
        refusals: what it says instead of registering, one for each of the next attempts.

    """

    def __init__(self, directory):
        self.directory = directory
        self.drivers, self.infos, self.refusals = {}, [], []
        self._changed = threading.Condition()
        self._seen = {}  # path → (what file it is, name)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()

    def wait_until(self, condition):
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), PATIENCE), (self.drivers, self.infos)

    def _watch(self):
        while not self._ending.wait(_GLANCE):
            there = {path: _file(path) for path in self.directory.glob("*.sock") if path.is_socket()}
            for path in [path for path, (file, _) in self._seen.items() if there.get(path) != file]:
                with self._changed:
                    self.drivers.pop(self._seen.pop(path)[1], None)
                    self._changed.notify_all()
            for path, file in there.items():
                if file is not None and path not in self._seen:
                    self._register(path, file)

    def _register(self, path, file):
        try:
            with _channel(path) as channel:
                info = RegistrationStub(channel).GetInfo(pb.InfoRequest(), timeout=TIMEOUT)
        except grpc.RpcError:
            return  # kubelet tries again
        self._seen[path] = file, info.name
        error, node_id = "", None
        if self.refusals:
            error = self.refusals.pop(0)
        else:
            try:
                node_id = _node_id(info.endpoint)
            except grpc.RpcError as failure:
                error = failure.details()
        with self._changed:
            self.infos.append(info)
        with _channel(path) as channel:
            status = pb.RegistrationStatus(plugin_registered=not error, error=error)
            RegistrationStub(channel).NotifyRegistrationStatus(status, timeout=TIMEOUT)
        with self._changed:
            if not error:
                self.drivers[info.name] = node_id
            self._changed.notify_all()


def _file(path):
    """Tell which file it is: the number of one that is gone goes to the next, so when it was made counts, too."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _node_id(endpoint):
    with _channel(endpoint) as channel:
        return csi_pb2_grpc.NodeStub(channel).NodeGetInfo(csi_pb2.NodeGetInfoRequest(), timeout=TIMEOUT).node_id


@contextmanager
def _channel(path):
    with grpc.insecure_channel(channel_target(path), options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        yield channel
