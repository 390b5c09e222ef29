"""csi-model: a CSI driver that brings verified whole copies of models to the node's local disk."""

__version__ = "0.1.0"
DRIVER_NAME = "csi-model.io"
"""The CSI driver name, and the single prefix of every label, topology key and annotation."""
