"""``python -m e2e.cluster check|up|down|status``: whether one can run here, and a cluster by hand."""

import sys

from e2e.cluster import cluster, lock, sweep, traces
from hack.fetching import NotFetched


def main() -> None:
    action = sys.argv[1] if len(sys.argv) > 1 else "status"
    if action == "check":
        cluster.check()
        return
    if action == "up":
        with cluster.running(keep=True) as found:
            print(f"export KUBECONFIG={found.kubeconfig}")
    elif action == "down":
        with lock.opened() as held:
            held.alone()
            sweep.sweep()
    print(*traces.left() or ["nothing is left"], sep="\n")


if __name__ == "__main__":
    try:
        main()
    except (cluster.Unfit, lock.InUse, NotFetched) as error:
        sys.exit(str(error))
