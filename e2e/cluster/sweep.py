"""Remove whatever a cluster left, found by names and files: after a test run, and before the next one."""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from e2e.cluster import cgroups, controlplane, network, place
from e2e.cluster.processes import Process
from e2e.cluster.shell import until

_KEPT = ("lock", "users", "failures")


def sweep() -> None:
    """Leave nothing; TookTooLong if something doesn't end."""
    for process in Process.all():
        if process.name.startswith("node"):
            process.kill(signal.SIGKILL)
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(cgroups.end, name) for name in cgroups.left()]
        done.append(pool.submit(controlplane.stop))
        for future in done:
            future.result()
    for process in Process.all():
        process.stop()
    for pid in network.processes():  # such as were started and not yet noted
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not network.processes(), "nobody is in our namespaces", 30)
    network.remove()
    for path in place.STATE.glob("*"):
        if path.name not in _KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
