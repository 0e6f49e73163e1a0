"""File containers (HDF5, zip of NumPy arrays, Parquet, Arrow): opening them without trusting them."""
