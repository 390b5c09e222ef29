"""Side by side with what people use today: how fast a model gets from a source onto this machine's disk."""
