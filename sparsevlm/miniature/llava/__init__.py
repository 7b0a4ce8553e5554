"""The miniature LLaVA: scenes of 24 x 24 patches."""
