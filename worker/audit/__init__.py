"""The audit log as pure values: entries, Merkle tree, signed notes, the export bundle and its verifier."""
