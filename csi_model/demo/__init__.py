"""``csi-model demo``: a model, a small S3 server, the real driver, and somebody who plays kubelet."""
