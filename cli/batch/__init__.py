"""Process many pictures with one command: find the inputs, share the work, and report the results."""
