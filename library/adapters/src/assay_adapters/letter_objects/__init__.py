"""Dead letters as objects: files of JSON lines beside the data."""
