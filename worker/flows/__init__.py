"""The verbs, one per file. Each owns its transactions; none is open while a request is on the wire."""
