"""A stateful local provider for trying Tenure, for tests and for benchmarks: nothing in it is real."""
