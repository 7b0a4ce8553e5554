"""Pruning a real model: hooks, prefill, positions, masks, and the trace of what happened."""
