"""New datasets from environments: behaviour policies, the pool that steps them, and the catalog of recipes."""
