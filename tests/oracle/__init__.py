"""Plain Python folds of every projection, to hold the SQL to."""
