"""Methods that learn from costs beside rewards: what must not happen is a constraint, not a weight."""
