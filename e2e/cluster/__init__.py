"""A Kubernetes cluster on one machine: each node is a set of namespaces, nothing is installed, nothing is left."""
