"""Goal-conditioned methods: policies that are told which goal to reach, learned from data without rewards."""
