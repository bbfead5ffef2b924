"""An in-memory adapter for every port, with faults to inject."""
