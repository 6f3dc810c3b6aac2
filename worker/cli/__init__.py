"""The `tenure` command: data on stdout, messages on stderr, and an exit code that scripts can trust."""
