"""Methods that learn tasks one after the other, each from its own data, and keep little of it."""
