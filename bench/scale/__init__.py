"""The controller at scale: a real API server and etcd, a simulated cluster around them; see docs/scale.md."""
