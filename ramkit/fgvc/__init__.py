"""MP-FGVC, equation by equation: which kind of bird, dog or flower a photo shows (arXiv 2309.08912)."""
