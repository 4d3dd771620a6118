"""The state of the site, and what an operator can do about each problem."""
