"""What the models of missing actions share: windows of states, training on the engine, calibration, and the filling in."""
