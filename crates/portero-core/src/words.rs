//! Errors in words, and hashes in digits.

use std::error::Error;

/// An error and its causes in one line, for logs and messages.
#[must_use]
pub fn in_words(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line = format!("{line}: {cause}");
        next = cause.source();
    }
    line
}

/// Bytes as lower-case hexadecimal digits, as hashes are written.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the lamp is dark")]
    struct Dark(#[source] std::io::Error);

    #[test]
    fn causes_follow_in_order() {
        let error = Dark(std::io::Error::other("no power"));
        assert_eq!(in_words(&error), "the lamp is dark: no power");
    }

    #[test]
    fn small_bytes_have_two_digits_as_well() {
        assert_eq!(hex(&[0, 0x0a, 0xff]), "000aff");
    }
}
