"""Model layouts, scores and per-person clipped gradients."""
