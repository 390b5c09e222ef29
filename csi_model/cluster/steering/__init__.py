"""Steering: which node shall have which Revision, and what the scheduler is told of it."""
