"""The command, the notebook runner, the site, the checks."""
