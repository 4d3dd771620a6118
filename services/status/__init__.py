"""How everything stands, and what an operator can do about it."""
