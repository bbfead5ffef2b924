"""The model of Assay: text features, training, calibration, evaluation."""
