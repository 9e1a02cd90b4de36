"""Training: data, losses, the training loop, and export. The codec never imports this package."""
