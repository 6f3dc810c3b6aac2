"""How fast Tenure may ask a provider, over all processes: no permit, no request."""
