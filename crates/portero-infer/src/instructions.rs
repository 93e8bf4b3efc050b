//! Which of the processor's instructions the kernels for bytes use: `PORTERO_KERNELS` chooses, for measuring.

use portero_kernels::Isa;

use super::InferError;

/// What `PORTERO_KERNELS` names; the best that this processor has where it is not set.
///
/// # Errors
/// [`InferError::Kernels`] when it names nothing that this processor has.
pub(crate) fn chosen() -> Result<Isa, InferError> {
    let wanted = std::env::var_os("PORTERO_KERNELS").unwrap_or_default();
    named(&wanted.to_string_lossy())
}

fn named(wanted: &str) -> Result<Isa, InferError> {
    if wanted.is_empty() {
        return Ok(Isa::best());
    }
    Isa::named(wanted).ok_or_else(|| {
        let names: Vec<_> = Isa::all().into_iter().map(Isa::name).collect();
        InferError::Kernels { wanted: wanted.to_owned(), allowed: names.join(", ") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_processor_lacks_is_refused_with_what_it_has() {
        assert_eq!(named("").unwrap(), Isa::best());
        assert_eq!(named("portable").unwrap(), Isa::PORTABLE);
        let foreign = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
        for wanted in ["AVX2", "sse9", foreign] {
            let said = named(wanted).unwrap_err().to_string();
            assert!(said.contains(wanted) && said.contains("may be portable"), "{said}");
        }
    }
}
