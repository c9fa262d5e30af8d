"""pytorchexample: a Flower app in PyTorch."""
