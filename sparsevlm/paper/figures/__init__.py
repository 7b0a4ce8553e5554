"""Figures. Compute, then draw: `measure` runs the model, all else needs what it returned only."""
