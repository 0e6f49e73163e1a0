"""The algorithms, one file each; a file holds what its paper adds, the engine does the rest."""
