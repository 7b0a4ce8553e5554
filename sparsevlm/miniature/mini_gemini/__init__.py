"""The miniature Mini-Gemini. Read `images`, `model`, `vision`, `losses`; the rest sees `kit`."""
