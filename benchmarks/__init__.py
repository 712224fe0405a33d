"""What the tool of speed measures against, and the longer comparisons behind its figures."""
