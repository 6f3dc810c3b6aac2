"""How Tenure speaks to a provider: one request per call, and one class per answer."""
