"""The population engine: data on the device, batches, draws, updates, and acting."""
