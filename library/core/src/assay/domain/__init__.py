"""Models and rules that everything else speaks of. No I/O, no clock."""
