"""Run from models/needle: python -m unittest discover -t . -s training/tests

They need torch, so they are not part of ctest.
"""
import torch

# Small tensors; beside other work a second thread waits more than it computes.
torch.set_num_threads(1)
