"""What can happen, the rules for it, and the log that keeps it."""
