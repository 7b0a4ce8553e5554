"""The claims of the paper, and what was measured for each."""
