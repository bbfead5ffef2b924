"""The model API of Assay."""
