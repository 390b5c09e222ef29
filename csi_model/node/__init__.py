"""The node agent: warm-ups, mounts and the idempotent verbs over them."""
