"""The HTTP edge: strict requests in, flows called, problems (RFC 9457) and lists in OpenAI's shape out."""
