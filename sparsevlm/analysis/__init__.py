"""Statistics, the frame of a study, tables, figure style."""
