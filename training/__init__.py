"""How the bundled miniatures were trained; not installed with the package."""
