"""From jobs to runs: grouping, training, checkpoints and progress."""
