"""Methods whose behaviour is known in closed form; most learn without a loop."""
