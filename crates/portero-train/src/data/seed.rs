//! Randomness that does not depend on threads: each draw has a seed of its own, made of what it is for.

/// Mixes several numbers into one seed (the finaliser of SplitMix64: Steele, Lea, Flood 2014).
pub(crate) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state: u64, part| {
        let mut z = state.wrapping_add(*part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::mix;

    #[test]
    fn order_and_number_of_the_parts_matter() {
        let seeds = [mix(&[1, 2]), mix(&[2, 1]), mix(&[1]), mix(&[1, 2, 0]), mix(&[])];
        for (i, a) in seeds.iter().enumerate() {
            assert!(!seeds[i + 1..].contains(a), "{seeds:?}");
        }
    }
}
