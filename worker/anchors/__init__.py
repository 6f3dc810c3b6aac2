"""Anchors: where copies of signed checkpoints are kept outside of the database."""
