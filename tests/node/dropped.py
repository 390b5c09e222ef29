"""Child processes that have dropped their capabilities: they tell what they have, or mount.

python -m tests.node.dropped status|mount|twice DIRECTORY [CAPABILITY…]
"""

import sys
from pathlib import Path

from csi_model.errors import MountFailed
from csi_model.node import namespace, privileges
from csi_model.node.linux_mounts import LinuxMounts


def status():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(("Cap", "NoNewPrivs")):
            print(line)


def mount(directory):
    source, target = directory / "source", directory / "target"
    try:
        LinuxMounts().bind_read_only(source, target)
    except MountFailed as error:
        print(error)
        return
    seen = (target / "file").read_text()
    LinuxMounts().unmount(target)
    print(seen, sorted(path.name for path in target.iterdir()))


def main():
    what, directory, *keep = sys.argv[1:]
    namespace.enter()
    if what == "twice":
        privileges.drop_all_but(frozenset(privileges.NEEDED))
        keep = ["CAP_CHOWN"]
    privileges.drop_all_but(frozenset(keep))
    status() if what == "status" else mount(Path(directory))


if __name__ == "__main__":
    main()
