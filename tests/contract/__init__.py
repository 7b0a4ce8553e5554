"""What `prune` promises of every method on every family of models, under both CPU kernels."""
