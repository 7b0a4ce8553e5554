"""The pruning algorithm: pure decisions on tensors, section 3 of the paper."""
