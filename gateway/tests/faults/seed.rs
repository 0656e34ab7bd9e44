//! Where the tests' choices come from: one seed, printed, that can be given again.

use rand::SeedableRng as _;
use rand::rngs::StdRng;

const VARIABLE: &str = "FILATURE_SEED";

/// The generator of the test `name`, from the seed of `FILATURE_SEED` or a fresh one.
///
/// A run depends on the machine's timing too: the same seed repeats what is chosen, not what happens to be under way.
pub fn generator(name: &str) -> StdRng {
    let given = std::env::var(VARIABLE)
        .ok()
        .map(|text| text.parse().expect("FILATURE_SEED must be a number"));
    let seed: u64 = given.unwrap_or_else(|| rand::random::<u32>().into());
    println!("{name}: {VARIABLE}={seed}");
    StdRng::seed_from_u64(seed)
}
