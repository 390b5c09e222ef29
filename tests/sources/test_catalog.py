"""Preloading, in processes of its own, since an import can't be taken back."""

import subprocess
import sys

AFTER_PRELOADING = """
import sys
from csi_model.sources.catalog import preload

preload()
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)

from csi_model.sources.base import Access
from csi_model.sources.http_connection import HttpLimits
from csi_model.sources.s3_client import make_service

make_service(Access(auth="anonymous", endpoint="http://localhost"), "b", HttpLimits())
print(*(path for path in opened if "botocore" in path or path.endswith((".py", ".pyc", ".so"))))
"""


def test_after_preloading_the_first_client_reads_no_code_and_no_service_model():
    command = [sys.executable, "-c", AFTER_PRELOADING]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "\n"


def test_what_cannot_be_preloaded_is_left_to_the_first_use():
    code = "import sys; sys.modules['botocore'] = None; from csi_model.sources.catalog import preload; preload()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
