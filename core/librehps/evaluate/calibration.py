"""Calibration of pair probabilities."""

from librehps.decide.calibrators import PlattCalibrators, load_platt_calibrator

__all__ = ["PlattCalibrators", "load_platt_calibrator"]
