//! One ONNX file: its contract, the graphs derived from it, the sessions that run them.
