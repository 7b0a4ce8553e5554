"""What the explorer shows: geometry, colors, panels."""
