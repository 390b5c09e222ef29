"""The only package that imports grpc: services over the verbs, and what happens to every call."""
