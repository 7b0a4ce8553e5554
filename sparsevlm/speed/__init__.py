"""Time, memory and operators of a pruned prefill."""
