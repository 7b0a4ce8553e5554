"""Statistics over results, and how figures are drawn."""
