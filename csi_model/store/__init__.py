"""The node's disk: ingests, blobs, trees, holds. Knows no network."""
