"""What the 26B costs on a GPU, measured with random weights: `python -m benchmarks.gpu`."""
