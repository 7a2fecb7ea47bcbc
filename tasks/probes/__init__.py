"""What pretraining could do, measured on fixed held-out text: before the stream and after every stage."""
