"""A projector: folds windows of the log by SQL, rebuilds, compares and watches. It knows no subject; see README.md."""
