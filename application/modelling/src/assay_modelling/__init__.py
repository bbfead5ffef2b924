"""The commands that train, judge and promote models."""
