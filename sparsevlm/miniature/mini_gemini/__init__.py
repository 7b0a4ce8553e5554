"""The miniature Mini-Gemini: the same scenes at twice the resolution, with small cards."""
