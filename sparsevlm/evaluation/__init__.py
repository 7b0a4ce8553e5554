"""From a model and a benchmark to scored answers that survive a kill."""
