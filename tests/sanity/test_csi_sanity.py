"""The real csi-sanity, unmodified, against the whole driver with an S3 source and real mounts."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter

from tests.harness import ROOT, SECRETS, Driver

VOLUME_SIZE = 64 * 1024 * 1024
PENDING = "pending"  # one spec that csi-sanity itself has switched off
NOT_ADVERTISED = {
    f"{what} not supported"
    for what in (
        "ControllerPublishVolume", "ControllerUnpublishVolume", "Controller Publish, UnpublishVolume",
        "CreateSnapshot", "DeleteSnapshot", "GetSnapshot", "ListSnapshots", "Snapshot", "Volume Cloning",
        "ControllerExpandVolume", "NodeExpandVolume", "GroupControllerService",
    )
}  # fmt: skip
"""What csi-sanity says when it skips a spec of a capability that a read-only model volume has no use for."""


def run_sanity(driver, s3, tmp_path):
    command = [sys.executable, ROOT / "hack" / "csi_sanity.py"]
    binary = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    (tmp_path / "parameters.yaml").write_text(json.dumps({"source": "s3://models/tiny", "endpoint": s3.url}))
    (tmp_path / "mutable.yaml").write_text(json.dumps({"warmReplicas": "0", "pin": "true"}))
    calls = ("CreateVolumeSecret", "NodeStageVolumeSecret")
    (tmp_path / "secrets.yaml").write_text(json.dumps(dict.fromkeys(calls, SECRETS)))
    return subprocess.run(
        [
            binary,
            f"-csi.endpoint=unix://{driver.socket}",
            f"-csi.mountdir={tmp_path / 'target'}",
            f"-csi.stagingdir={tmp_path / 'staging'}",
            f"-csi.testvolumesize={VOLUME_SIZE}",
            f"-csi.testvolumeparameters={tmp_path / 'parameters.yaml'}",
            f"-csi.testvolumemutableparameters={tmp_path / 'mutable.yaml'}",
            f"-csi.secrets={tmp_path / 'secrets.yaml'}",
            f"-ginkgo.junit-report={tmp_path / 'junit.xml'}",
            "-ginkgo.no-color",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def test_every_spec_of_an_advertised_capability_runs_and_passes(tmp_path, s3, mounts, capsys):
    with Driver(tmp_path) as driver:
        result = run_sanity(driver, s3, tmp_path)
    cases = list(ET.parse(tmp_path / "junit.xml").iter("testcase"))
    skips = Counter(
        skip.get("message", "").removeprefix("skipped - ") for case in cases for skip in case.iter("skipped")
    )
    with capsys.disabled():
        print("\ncsi-sanity:", *re.findall(r"Ran \d+ of \d+ Specs.*|\d+ Passed.*", result.stdout), sep="\n  ")
        for reason, count in skips.most_common():
            print(f"  {count:3} skipped: {reason}")
    assert result.returncode == 0, result.stdout[-8000:] + driver.log.read_text()[-4000:]
    assert set(skips) <= {*NOT_ADVERTISED, PENDING}
