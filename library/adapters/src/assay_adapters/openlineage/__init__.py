"""What runs read and write, by OpenLineage: nothing of it is imported unless it is asked for."""
