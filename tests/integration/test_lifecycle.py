"""A volume's life through the socket, as kubelet and external-provisioner live it."""

import errno
import os

import pytest

from csi_model.rpc.client import Refused
from tests.harness import MODEL, SECRETS, content, served_model


def parameters(s3, **more):
    return {"source": "s3://models/tiny", "endpoint": s3.url, **more}


def bytes_fetched(s3):
    return sum(_length(r.range) for r in s3.requests if r.method == "GET" and r.range)


def _length(header):
    start, _, end = header.removeprefix("bytes=").partition("-")
    return int(end) - int(start) + 1


def test_a_pod_reads_exactly_the_models_files(kubelet, s3):
    volume = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
    kubelet.stage(volume)
    target = kubelet.publish(volume, "pod-1")
    found = {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert found == {name: content(name, size) for name, size in MODEL.items()}


def test_root_in_the_pod_cannot_write(kubelet, s3):
    volume = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
    kubelet.stage(volume)
    target = kubelet.publish(volume, "pod-1")
    config = target / "config.json"
    for attempt, *arguments in ((config.write_bytes, b"x"), (config.chmod, 0o777), (config.unlink,)):
        with pytest.raises(OSError) as refused:
            attempt(*arguments)
        assert refused.value.errno == errno.EROFS
    with pytest.raises(OSError, match="Read-only file system"):
        (target / "new").touch()


def test_files_look_the_same_on_every_node(kubelet, s3):
    volume = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
    kubelet.stage(volume)
    target = kubelet.publish(volume, "pod-1")
    for path in [target, *target.rglob("*")]:
        status = path.stat()
        assert (status.st_uid, status.st_gid, status.st_mtime) == (os.geteuid(), os.getegid(), 0)
        assert status.st_mode & 0o777 == (0o555 if path.is_dir() else 0o444)


def test_a_second_volume_of_the_same_model_fetches_nothing(kubelet, s3):
    first = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
    kubelet.stage(first)
    second = kubelet.create("pvc-2", parameters(s3), secrets=SECRETS)
    fetched = bytes_fetched(s3)
    kubelet.stage(second)
    assert bytes_fetched(s3) == fetched
    assert second.volume_id != first.volume_id


def test_a_new_revision_fetches_only_what_differs(kubelet, s3):
    kubelet.stage(kubelet.create("pvc-1", parameters(s3), secrets=SECRETS))
    s3.put("models", "tiny/tokenizer.json", content("new tokenizer", 80_000))
    newer = kubelet.create("pvc-2", parameters(s3), secrets=SECRETS)
    fetched = bytes_fetched(s3)
    kubelet.stage(newer)
    assert bytes_fetched(s3) - fetched == 80_000


def test_an_object_overwritten_before_staging_still_arrives_as_pinned(kubelet, s3):
    volume = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
    s3.put("models", "tiny/config.json", b"something else")
    kubelet.stage(volume)
    target = kubelet.publish(volume, "pod-1")
    assert (target / "config.json").read_bytes() == content("config.json", MODEL["config.json"])


def test_an_unversioned_object_overwritten_before_staging_is_a_final_error_and_shows_nothing(driver, kubelet, tmp_path):
    with served_model(tmp_path / "unversioned", versioned=False) as s3:
        volume = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
        s3.put("models", "tiny/config.json", b"something else")
        with pytest.raises(Refused, match=r"config\.json") as refused:
            kubelet.stage(volume)
    assert refused.value.code == "FAILED_PRECONDITION"
    assert not list((driver.store / "trees").iterdir())
    assert not list((driver.store / "holds").iterdir())


def test_a_staged_volume_needs_neither_the_source_nor_its_record_any_more(kubelet, driver, s3):
    volume = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
    kubelet.stage(volume)
    s3.denied.add(("GET", "models", ""))
    kubelet.delete(volume)
    kubelet.stage(volume)
    kubelet.publish(volume, "pod-1")
    kubelet.unpublish(volume, "pod-1")
    kubelet.unstage(volume)


def test_nothing_is_left_in_kubelets_directories(kubelet, s3):
    volume = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
    kubelet.stage(volume)
    target = kubelet.publish(volume, "pod-1")
    kubelet.unpublish(volume, "pod-1")
    kubelet.unstage(volume)
    assert not target.exists()
    assert not kubelet.staging_path(volume).exists()


def test_a_wrong_secret_is_told_to_the_claim_and_not_the_secret(kubelet, driver, s3):
    with pytest.raises(Refused) as refused:
        kubelet.create("pvc-1", parameters(s3), secrets={**SECRETS, "secretAccessKey": "wrong-guess"})
    assert refused.value.code == "UNAUTHENTICATED"
    assert "wrong-guess" not in refused.value.text + driver.log.read_text()


def test_a_claim_too_small_for_the_model_gets_the_models_size(kubelet, s3):
    volume = kubelet.create("pvc-1", parameters(s3), size=1, secrets=SECRETS)
    assert volume.capacity == sum(MODEL.values())


def test_each_call_logs_one_line_with_the_volume_and_no_secret(kubelet, driver, s3):
    volume = kubelet.create("pvc-1", parameters(s3), secrets=SECRETS)
    kubelet.stage(volume)
    lines = [line for line in driver.log.read_text().splitlines() if "NodeStageVolume" in line]
    assert len(lines) == 1
    assert volume.volume_id in lines[0]
    assert SECRETS["secretAccessKey"] not in driver.log.read_text()
