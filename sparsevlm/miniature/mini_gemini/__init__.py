"""The miniature Mini-Gemini. Read `pictures`, `model`, `vision`, `losses`; the rest sees `kit`."""
