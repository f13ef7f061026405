//! The protobuf types of the ONNX format (IR version 13), generated from the vendored public definition.

#![allow(missing_docs, clippy::all, rustdoc::all)]

include!("onnx.rs");
