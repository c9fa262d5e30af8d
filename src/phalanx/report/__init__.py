"""What runs and sweeps look like: tables, plots, one self-contained page."""
