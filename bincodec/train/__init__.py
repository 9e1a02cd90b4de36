"""Training: data, losses, the loop, and export. Never imported by `bincodec.codec`."""
