"""Did a change to the data help? Paired comparisons with verdicts whose error rates hold."""
