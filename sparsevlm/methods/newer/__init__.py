"""Methods published after SparseVLM's first version, each equal to its authors' code."""
