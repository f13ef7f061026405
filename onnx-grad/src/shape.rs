//! Shape arithmetic shared by the builder, the importer and the evaluator.

/// Number of elements; saturates instead of overflowing, so that a hostile shape only looks large.
pub(crate) fn numel(shape: &[usize]) -> usize {
    shape.iter().fold(1, |n, &d| usize::saturating_mul(n, d))
}

/// The numpy broadcast of two shapes, or `None` where they do not agree.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    (0..rank)
        .map(|i| match (from_end(a, rank - i), from_end(b, rank - i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// True if `from` broadcasts to exactly `to`.
pub(crate) fn broadcasts_to(from: &[usize], to: &[usize]) -> bool {
    broadcast(from, to).is_some_and(|shape| shape == to)
}

/// Size `i` places from the end (1 is the last axis); 1 beyond the front.
fn from_end(shape: &[usize], i: usize) -> usize {
    if i <= shape.len() {
        shape[shape.len() - i]
    } else {
        1
    }
}

/// Row-major strides.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Strides that read `shape` as if it were broadcast to `to` (0 along repeated axes).
pub(crate) fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let lead = to.len() - shape.len();
    let mut result = vec![0; to.len()];
    for (i, (&size, stride)) in shape.iter().zip(strides(shape)).enumerate() {
        if size != 1 {
            result[lead + i] = stride;
        }
    }
    result
}

/// The shape of a matrix product with batch axes broadcast, or `None` where the operands do not fit.
pub(crate) fn matmul(a: &[usize], b: &[usize], ta: bool, tb: bool) -> Option<Vec<usize>> {
    let (batch_a, [m, k]) = split_matrix(a, ta)?;
    let (batch_b, [l, n]) = split_matrix(b, tb)?;
    let mut shape = broadcast(batch_a, batch_b)?;
    shape.extend([m, n]);
    (k == l).then_some(shape)
}

/// The batch axes and the two matrix axes, swapped if `transposed`.
pub(crate) fn split_matrix(shape: &[usize], transposed: bool) -> Option<(&[usize], [usize; 2])> {
    let (batch, matrix) = shape.split_at_checked(shape.len().checked_sub(2)?)?;
    let [r, c] = [matrix[0], matrix[1]];
    Some((batch, if transposed { [c, r] } else { [r, c] }))
}

/// `shape` without `axes`, or with size 1 there if `keep`.
pub(crate) fn reduce(shape: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    let sizes = shape.iter().enumerate();
    if keep {
        sizes
            .map(|(i, &d)| if axes.contains(&i) { 1 } else { d })
            .collect()
    } else {
        sizes
            .filter(|(i, _)| !axes.contains(i))
            .map(|(_, &d)| d)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        assert_eq!(broadcast(&[], &[2, 3]), Some(vec![2, 3]));
        assert_eq!(broadcast(&[4, 1, 3], &[2, 1]), Some(vec![4, 2, 3]));
        assert_eq!(broadcast(&[0], &[1]), Some(vec![0]));
        assert_eq!(broadcast(&[2], &[3]), None);
        assert!(!broadcasts_to(&[2, 1], &[3]));
    }

    #[test]
    fn matrix_products_broadcast_their_batch_axes() {
        assert_eq!(
            matmul(&[5, 2, 3], &[3, 4], false, false),
            Some(vec![5, 2, 4])
        );
        assert_eq!(matmul(&[3, 2], &[7, 4, 3], true, true), Some(vec![7, 2, 4]));
        assert_eq!(matmul(&[3], &[3, 4], false, false), None);
    }
}
