"""The newsletter, from sign-up to ledger to sending; what API, worker and command line share."""
