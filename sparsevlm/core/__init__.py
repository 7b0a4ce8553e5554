"""The algorithm, section 3 of the paper: pure decisions on tensors."""
