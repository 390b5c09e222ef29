"""A warm start: NodeStage and NodePublish of a model that is on the node already, through the driver's socket.

``python -m bench.warm JOB.json WORK`` measures in a mount namespace of its own and prints JSON.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from bench.contenders import Job
from bench.contenders.driver import driver, volume_of
from bench.pod import in_namespace
from csi_model.node import namespace

STARTS = 50


def measure(job: dict[str, Any], work: Path) -> dict[str, Any]:
    """Return the median, least and most milliseconds of NodeStage + NodePublish over STARTS starts.

    Args:
        job: a contender's job from S3.
        work: an empty directory.

    """
    figures: dict[str, Any] = in_namespace("bench.warm", job, work)
    return figures


def _starts(job: Job, work: Path) -> dict[str, Any]:
    with driver(job, work) as running:
        volume = volume_of(job, running.kubelet)
        running.kubelet.stage(volume)
        running.kubelet.unstage(volume)
        taken = []
        for number in range(STARTS):
            began = time.perf_counter()
            running.kubelet.stage(volume)
            running.kubelet.publish(volume, f"pod-{number}")
            taken.append((time.perf_counter() - began) * 1000)
            running.kubelet.unpublish(volume, f"pod-{number}")
            running.kubelet.unstage(volume)
    return {"starts": STARTS, "median_ms": median(taken), "min_ms": min(taken), "max_ms": max(taken)}


if __name__ == "__main__":
    namespace.enter()
    print(json.dumps(_starts(Job.read(Path(sys.argv[1])), Path(sys.argv[2]))))
