"""Many pictures with one command: inputs, stores, engines, reports."""
