//! Parameter values with the hash that names them.

use xxhash_rust::xxh3::Xxh3;

/// A model's parameters, in file order, and the XXH3-128 over their little-endian bytes.
#[derive(Debug, Clone)]
pub struct Parameters {
    values: Vec<Vec<f32>>,
    hash: [u8; 16],
}

impl Parameters {
    /// Parameters of these values.
    pub fn new(values: &[&[f32]]) -> Self {
        let values = values.iter().map(|values| values.to_vec()).collect();
        let mut parameters = Self {
            values,
            hash: [0; 16],
        };
        parameters.rehash();
        parameters
    }

    /// The values, one slice a parameter, row-major.
    pub fn values(&self) -> &[Vec<f32>] {
        &self.values
    }

    /// The hash: equal values have equal hashes.
    pub fn hash(&self) -> [u8; 16] {
        self.hash
    }

    /// Copies other values of the same model.
    ///
    /// # Panics
    /// If they are of another size.
    pub fn copy_from(&mut self, other: &Self) {
        for (to, from) in self.values.iter_mut().zip(&other.values) {
            to.copy_from_slice(from);
        }
        self.hash = other.hash;
    }

    /// Sets each parameter to the values that are given for its index.
    ///
    /// # Panics
    /// If they are of another size.
    pub fn set<'a>(&mut self, of: impl Fn(usize) -> &'a [f32]) {
        for (index, values) in self.values.iter_mut().enumerate() {
            values.copy_from_slice(of(index));
        }
        self.rehash();
    }

    fn rehash(&mut self) {
        let mut hasher = Xxh3::new();
        let mut block = [0u8; 4096];
        for values in &self.values {
            for chunk in values.chunks(block.len() / 4) {
                for (bytes, value) in block.chunks_exact_mut(4).zip(chunk) {
                    bytes.copy_from_slice(&value.to_le_bytes());
                }
                hasher.update(&block[..chunk.len() * 4]);
            }
        }
        self.hash = hasher.digest128().to_le_bytes();
    }
}
