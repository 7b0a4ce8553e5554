"""From a question to scored answers that survive a kill."""
