"""From trained encoders to ONNX files for devices, with the proof that they equal the originals."""
