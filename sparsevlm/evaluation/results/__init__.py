"""The append-only store of results, and where each came from."""
