"""What ``csi-model`` and ``python -m csi_model`` run."""

from csi_model.cli.app import csi_model as main

if __name__ == "__main__":
    main(prog_name="csi-model")
