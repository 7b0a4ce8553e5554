"""Adapters, prompt builders, sizes and checkpoints."""
