"""Releases of ONNX Runtime that make different things of a network, the newest first."""

RELEASES = ("1.32", "1.31", "1.30", "1.29", "1.28", "1.25", "1.21", "1.20", "1.18", "1.17")
"""As the rules of `lowering.onnxruntime.rules` tell them apart."""
