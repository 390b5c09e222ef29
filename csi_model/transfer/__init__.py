"""The fast path: one Plan → bytes committed."""
