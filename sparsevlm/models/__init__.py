"""The architectures: an adapter for each, the inputs that it takes, and its checkpoints."""
