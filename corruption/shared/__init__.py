"""What several corruptions have in common: elements, steps, pieces of episodes, sensors."""
