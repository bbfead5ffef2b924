"""The batch service of Assay: one run over files, then exit."""
