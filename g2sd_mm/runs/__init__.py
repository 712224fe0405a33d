"""What the commands do, as functions: train, test, infer, verify, replay."""
