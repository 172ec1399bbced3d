"""How good a model is: scores kept, figures and intervals, models side by side, thresholds and chances."""
