"""Actor-critic methods: a critic learned from the data, and a policy that stays near it."""
