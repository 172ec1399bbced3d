"""RAM++, equation by equation: re-weighting, alignment decoder, losses, model."""
