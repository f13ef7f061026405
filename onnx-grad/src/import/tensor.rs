//! Stored tensors.

use super::call::Kind;
use crate::half;
use crate::proto::TensorProto;
use crate::proto::tensor_proto::{DataLocation, DataType};
use crate::shape::numel;

/// A stored tensor, decoded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
    pub kind: Kind,
}

impl Tensor {
    /// Decodes; the error says what is wrong.
    pub(crate) fn read(proto: &TensorProto) -> Result<Self, &'static str> {
        if proto.data_location() == DataLocation::External {
            return Err(
                "lies in a side file: export with external_data=False to get a single file",
            );
        }
        let shape = proto
            .dims
            .iter()
            .map(|&d| usize::try_from(d).map_err(|_| "a size is negative"))
            .collect::<Result<Vec<_>, _>>()?;
        let raw = proto.raw_data();
        let (kind, data) = match DataType::try_from(proto.data_type()) {
            Ok(DataType::Float) if raw.is_empty() => (Kind::Float, widen(&proto.float_data)),
            Ok(DataType::Float) => (
                Kind::Float,
                unpack(raw, |b| f64::from(f32::from_le_bytes(b)))?,
            ),
            Ok(DataType::Double) if raw.is_empty() => (Kind::Float, proto.double_data.clone()),
            Ok(DataType::Double) => (Kind::Float, unpack(raw, f64::from_le_bytes)?),
            Ok(DataType::Float16) => (Kind::Float, unpack_16(proto, half::from_f16)?),
            Ok(DataType::Bfloat16) => (Kind::Float, unpack_16(proto, half::from_bf16)?),
            Ok(DataType::Int64) if raw.is_empty() => (
                Kind::Int,
                proto.int64_data.iter().map(|&x| x as f64).collect(),
            ),
            Ok(DataType::Int64) => (Kind::Int, unpack(raw, |b| i64::from_le_bytes(b) as f64)?),
            Ok(DataType::Int32) if raw.is_empty() => (Kind::Int, widen(&proto.int32_data)),
            Ok(DataType::Int32) => (
                Kind::Int,
                unpack(raw, |b| f64::from(i32::from_le_bytes(b)))?,
            ),
            Ok(DataType::Bool) if raw.is_empty() => (Kind::Bool, widen(&proto.int32_data)),
            Ok(DataType::Bool) => (Kind::Bool, unpack(raw, |[b]: [u8; 1]| f64::from(b))?),
            _ => {
                return Err(
                    "its element type is not supported: use a float type, int32, int64 or bool",
                );
            }
        };
        match data.len() == numel(&shape) {
            true => Ok(Tensor { shape, data, kind }),
            false => Err("its data does not fill its shape"),
        }
    }
}

fn widen<T: Copy + Into<f64>>(data: &[T]) -> Vec<f64> {
    data.iter().map(|&x| x.into()).collect()
}

fn unpack<const N: usize>(
    raw: &[u8],
    number: impl Fn([u8; N]) -> f64,
) -> Result<Vec<f64>, &'static str> {
    let (chunks, rest) = raw.as_chunks::<N>();
    match rest {
        [] => Ok(chunks.iter().map(|&chunk| number(chunk)).collect()),
        _ => Err("its bytes are cut short"),
    }
}

/// 16-bit floats: raw, or one in each entry of the integer list.
fn unpack_16(proto: &TensorProto, number: fn(u16) -> f64) -> Result<Vec<f64>, &'static str> {
    match proto.raw_data() {
        [] => Ok(proto.int32_data.iter().map(|&x| number(x as u16)).collect()),
        raw => unpack(raw, |b| number(u16::from_le_bytes(b))),
    }
}
