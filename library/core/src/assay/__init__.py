"""The core of Assay: models, protocols and the pump, without I/O."""
