"""Benchmarks: real processes, real sockets, every reader's events reconciled against those published."""
