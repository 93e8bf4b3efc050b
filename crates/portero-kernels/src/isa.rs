//! Which instructions the kernels may use, found out at run time.

use super::LANES;

/// Which instructions the kernels may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Level);

/// What there are kernels for, worst first. Any but `Portable` is proof that this processor has it: only [`Isa`]
/// makes one, and only after asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Level {
    /// Plain Rust.
    Portable,
    /// AVX2: Haswell, Zen and newer.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with VNNI and VBMI: Ice Lake, Zen 4 and newer.
    #[cfg(target_arch = "x86_64")]
    Vnni,
    /// NEON as every 64-bit ARM processor has it: Cortex-A53, A72.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// NEON with the dot product: Cortex-A55, A76 and newer.
    #[cfg(target_arch = "aarch64")]
    Dot,
}

impl Isa {
    /// Plain Rust only.
    pub const PORTABLE: Self = Self(Level::Portable);

    /// All that this processor has, worst first.
    pub fn all() -> Vec<Self> {
        let mut found = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") {
                found.push(Self(Level::Avx2));
                let wide = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                if wide && has!("avx512vnni") && has!("avx512vbmi") {
                    found.push(Self(Level::Vnni));
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected as has;
            if has!("neon") {
                found.push(Self(Level::Neon));
                if has!("dotprod") {
                    found.push(Self(Level::Dot));
                }
            }
        }
        found
    }

    /// The level of this [name](Isa::name); `None` when there is none, or this processor lacks it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|isa| isa.name() == name)
    }

    /// The best that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::all().last().copied().unwrap_or(Self::PORTABLE)
    }

    /// What people call it, for logs and settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Vnni => "vnni",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::Dot => "dotprod",
        }
    }

    pub(super) fn level(self) -> Level {
        self.0
    }
}

impl Level {
    /// How many inputs stand side by side in the packed weights of a dense convolution: as many as one instruction
    /// multiplies and adds up.
    pub(super) fn group(self) -> usize {
        match self {
            Self::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 2,
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => 4,
            #[cfg(target_arch = "aarch64")]
            Self::Neon | Self::Dot => 4,
        }
    }

    /// The byte that counts as 0 in the kernels' products: those that read the input as signed bytes move it.
    pub(super) fn origin(self) -> i32 {
        match self {
            #[cfg(target_arch = "aarch64")]
            Self::Neon | Self::Dot => 128,
            _ => 0,
        }
    }

    /// Which output of a block of sixteen stands where in the packed weights, biases and scales.
    pub(super) fn order(self) -> [usize; LANES] {
        match self {
            // Packing two registers to 16 bits interleaves their halves, and so brings this into order.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15],
            _ => std::array::from_fn(|i| i),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Isa;

    #[test]
    fn every_level_of_this_processor_is_found_by_its_name_and_no_other() {
        for isa in Isa::all() {
            assert_eq!(Isa::named(isa.name()), Some(isa));
        }
        let foreign = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
        for wanted in ["", "AVX2", "sse9", foreign] {
            assert_eq!(Isa::named(wanted), None, "{wanted}");
        }
    }
}
