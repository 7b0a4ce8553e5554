"""Pruning a real model: hooks, positions, masks, the trace."""
