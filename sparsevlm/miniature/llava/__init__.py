"""The miniature LLaVA. Read `model`, `losses`, `packed`, `probes`; the rest sees `kit` only."""
