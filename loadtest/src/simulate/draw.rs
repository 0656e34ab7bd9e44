//! Random numbers of the kinds a fleet and its calls are drawn with.

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

/// Exponential with mean 1.
pub(super) fn exponential(rng: &mut Xoshiro256PlusPlus) -> f64 {
    -(1.0 - rng.random::<f64>()).ln()
}

/// Normal with mean 0 and variance 1 (Box and Muller, 1958).
pub(super) fn normal(rng: &mut Xoshiro256PlusPlus) -> f64 {
    let (radius, angle) = (
        (2.0 * exponential(rng)).sqrt(),
        std::f64::consts::TAU * rng.random::<f64>(),
    );
    radius * angle.cos()
}

/// Log-normal with median 1.
pub(super) fn log_normal(deviation: f64, rng: &mut Xoshiro256PlusPlus) -> f64 {
    (deviation * normal(rng)).exp()
}

/// A number in 0..1 that is the same for the same three, and looks random (Steele et al., SplitMix, 2014).
pub(super) fn fixed(seed: u64, one: u64, other: u64) -> f64 {
    let mut bits = mix(seed ^ mix(one ^ mix(other)));
    bits = mix(bits);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn draws_have_their_moments() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let count = 50_000;
        let (mut sum, mut squares, mut gaps, mut uniform) = (0.0, 0.0, 0.0, 0.0);
        for n in 0..count {
            let z = normal(&mut rng);
            (sum, squares) = (sum + z, squares + z * z);
            gaps += exponential(&mut rng);
            uniform += fixed(9, n, 3);
        }
        let count = count as f64;
        assert!((sum / count).abs() < 0.02 && (squares / count - 1.0).abs() < 0.03);
        assert!((gaps / count - 1.0).abs() < 0.03 && (uniform / count - 0.5).abs() < 0.01);
        assert!((fixed(1, 2, 3) - fixed(1, 2, 3)).abs() < f64::EPSILON);
    }
}
