"""csi-model as kubelet uses it: NodeStageVolume through the socket of a real driver."""

from collections.abc import Iterator

from bench.contenders import Job, Verdict, run
from bench.contenders.driver import driver, volume_of
from bench.contenders.engine import verified_of
from csi_model.core.manifest import Manifest


def contend(job: Job) -> Iterator[Verdict | None]:
    with driver(job, job.dest) as running:
        volume = volume_of(job, running.kubelet)
        yield None
        cpu = running.cpu_seconds()
        running.kubelet.stage(volume)
        cpu = running.cpu_seconds() - cpu
        tree = running.tree()
        manifest = Manifest.parse((running.store / "manifests" / f"{tree.name}.json").read_bytes())
        yield Verdict(
            note=f"NodeStageVolume, {job.streams} streams", verified=verified_of(manifest), root=tree / "root",
            cpu_seconds=cpu, peak_rss_mib=running.peak_rss_mib(),
        )  # fmt: skip


if __name__ == "__main__":
    run(contend)
