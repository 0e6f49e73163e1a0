"""Parts that several corruptions share: columns of an element, choice of steps, ranges of episodes, sensor faults."""
