"""ramkit: open-set image tagging, from captions to tagged photos (RAM++, MP-FGVC)."""

__version__ = "0.1.0"
