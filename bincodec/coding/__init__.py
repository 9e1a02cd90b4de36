"""The coding order, the passes that encoder, decoder and sampler share, and the probabilities of levels."""
