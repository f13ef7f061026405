//! Reverse-mode differentiation of ONNX graphs, closed under itself.
