//! 16-bit floats, as raw bits.

/// The value of an IEEE half.
pub(crate) fn from_f16(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    sign * size
}

/// The nearest IEEE half, ties to even.
pub(crate) fn to_f16(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) as u16 & 0x8000;
    let size = f64::from(x.abs());
    if size.is_nan() {
        return sign | 0x7e00;
    }
    // In units of the last place of the binade, or of the subnormal numbers.
    let exponent = (size.log2().floor() as i32).clamp(-14, 16);
    let units = (size * 2f64.powi(10 - exponent)).round_ties_even();
    // A carry out of the fraction lands in the exponent, where it belongs.
    let bits = units + f64::from((exponent + 14) * 1024);
    sign | (bits.min(f64::from(0x7c00u16)) as u16)
}

/// The value of a bfloat16: the upper half of a float's bits.
pub(crate) fn from_bf16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

/// The nearest bfloat16, ties to even.
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    let tie = bits >> 16 & 1;
    ((u64::from(bits) + 0x7fff + u64::from(tie)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_way_there_and_back() {
        for bits in 0..=u16::MAX {
            let x = from_f16(bits);
            assert!(x.is_nan() || to_f16(x as f32) == bits, "{bits:#x}");
            let x = from_bf16(bits);
            assert!(x.is_nan() || to_bf16(x as f32) == bits, "{bits:#x}");
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_even() {
        assert_eq!(from_f16(to_f16(1.0 + 1.0 / 2048.0)), 1.0);
        assert_eq!(from_f16(to_f16(1.0 + 3.0 / 2048.0)), 1.0 + 2.0 / 1024.0);
        assert_eq!(from_f16(to_f16(65519.0)), 65504.0);
        assert_eq!(from_f16(to_f16(65520.0)), f64::INFINITY);
        assert_eq!(from_bf16(to_bf16(1.0 + 1.0 / 256.0)), 1.0);
        assert_eq!(from_bf16(to_bf16(1.0 + 3.0 / 256.0)), 1.0 + 2.0 / 128.0);
    }
}
