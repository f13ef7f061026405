//! A sealed model file: no damage to it goes unnoticed.

mod support;

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{roach, runtime};
use surefoot::model::DynamicsModel;

const FLIPS: usize = 3_000;
const KEY: &[u8] = b"surefoot.seal";

#[test]
fn a_flipped_bit_anywhere_in_the_shipped_model_is_refused() {
    let runtime = runtime();
    let bytes = std::fs::read(roach("model.onnx")).unwrap();
    let key = bytes
        .windows(KEY.len())
        .position(|part| part == KEY)
        .expect("the model is sealed");
    // The entry that holds the seal: without its key it is another program's note, and the rest of the file is whole.
    let seal = key - 4..key + KEY.len();
    let mut random = ChaCha8Rng::seed_from_u64(29);
    for _ in 0..FLIPS {
        let (place, bit) = (
            random.random_range(0..bytes.len()),
            random.random_range(0..8),
        );
        if seal.contains(&place) {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << bit;
        let loaded = DynamicsModel::from_bytes(damaged, Path::new("damaged.onnx"), &runtime);
        assert!(loaded.is_err(), "bit {bit} of byte {place} was flipped");
    }
}
