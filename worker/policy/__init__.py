"""Pure retention rules: read a bundle from YAML, and decide what may happen to a thread."""
