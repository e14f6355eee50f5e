"""Pattern-Exploiting Training: few-shot text classification by filling a blank."""

__version__ = "0.1.0"
