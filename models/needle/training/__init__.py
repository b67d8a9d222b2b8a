"""Training and evaluation of the needle model; run from models/needle as `python -m training.X`."""
