"""Run models by other engines than torch: ONNX Runtime and OpenVINO."""
