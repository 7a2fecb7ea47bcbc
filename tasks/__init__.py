"""Text in, tensors and scores out: sources, task kinds, streams, metrics and probes."""
