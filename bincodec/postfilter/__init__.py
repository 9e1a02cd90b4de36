"""The post-filter: a small filter, fitted by the encoder to each picture and sent with it."""
