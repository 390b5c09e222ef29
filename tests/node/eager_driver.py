"""``csi-model serve`` with two streams that makes every chunk durable at once, so that a test knows what a kill costs.

python -m tests.node.eager_driver ENDPOINT STORE REGISTRY
"""

import sys
from pathlib import Path

from csi_model.cli.daemon import run
from csi_model.cli.plan import Plan
from csi_model.core.allow import Allowed
from csi_model.settings import Settings, StoreSettings, TransferSettings


def main():
    endpoint, store, registry = sys.argv[1:]
    settings = Settings(
        store=StoreSettings(Path(store), high_watermark=1.0, low_watermark=1.0),
        transfer=TransferSettings(streams=2, streams_most=2, run_chunks=1, checkpoint_bytes=1),
    )
    plan = Plan(
        mode="all", endpoint=endpoint, node_id="node-1", registry=Path(registry), settings=settings,
        inline=Allowed(("s3://models/**",), ("http://*",)),
    )  # fmt: skip
    sys.exit(run(plan))


if __name__ == "__main__":
    main()
